import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

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


@pytest.mark.parametrize(
    "text",  # torch's, of its handler of a signal and of its wait for a batch
    [
        "DataLoader worker (pid 20797) exited unexpectedly with exit code 3. Details are lost due to multiprocessing.",
        "DataLoader worker (pid 20797) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 22803, 22804) exited unexpectedly",
    ],
)
def test_foreign_errors_told__of_a_worker_that_ends_without_a_word(text):
    reason = r"^DataLoader worker \(pid.*\) (exited|is killed).*: it crashed, or was killed, .* With num_workers=0"
    with pytest.raises(DataError, match=reason), foreign_errors_told():
        raise RuntimeError(text)


def test_foreign_errors_told__of_a_worker_whose_batch_was_being_pinned():
    text = "Caught DataError in pin memory thread for device 0.\nTraceback ...\neztorch.utils.errors.DataError: ended\n"
    with pytest.raises(DataError, match=r"^ended$"), foreign_errors_told():
        raise RuntimeError(text)


def test_foreign_errors_told__of_a_metric_that_is_not_there():
    stop = EarlyStopping(monitor="val/x")
    with pytest.raises(ConfigError, match="Early stopping conditioned on metric `val/x`"), foreign_errors_told():
        stop._validate_condition_metric({})
