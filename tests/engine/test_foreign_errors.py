import pytest
from lightning.pytorch import Trainer

from eztorch.engine.foreign_errors import foreign_errors_told
from eztorch.utils.errors import ConfigError, DataError


def test_foreign_errors_told__of_a_process_that_lost_another_is_a_line():
    with pytest.raises(DataError, match=r"another process of this run has ended"), foreign_errors_told():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:17820.")


def test_foreign_errors_told__leaves_other_errors_as_they_are():
    with pytest.raises(RuntimeError, match="shape"), foreign_errors_told():
        raise RuntimeError("shape mismatch")


def test_foreign_errors_told__what_lightning_refuses_is_an_error_of_the_configuration():
    with pytest.raises(ConfigError, match="invalid value -3 for limit_val_batches"), foreign_errors_told():
        Trainer(accelerator="cpu", limit_val_batches=-3)


def test_foreign_errors_told__of_values_that_lightning_raises_alone():
    with pytest.raises(ConfigError, match="Precision 'fast' is invalid"), foreign_errors_told():
        Trainer(accelerator="cpu", precision="fast")
    with pytest.raises(ValueError, match="could not convert") as caught, foreign_errors_told():
        float("fast")
    assert not isinstance(caught.value, ConfigError)
