from __future__ import annotations

import pytest

from eztorch.engine.check import check_batches, check_config
from eztorch.utils.errors import ConfigError


def make_config(**trainer):
    return {
        "datamodule": {"_target_": "lightning.pytorch.LightningDataModule", "train": None},
        "model": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3},
        "trainer": {"_target_": "lightning.pytorch.Trainer", **trainer},
    }


def test_check_config__names_all_problems_at_once():
    config = make_config(max_epoch=3)
    config["model"]["in_feature"] = 2
    config["datamodule"] = {"_target_": "eztorch.datamodules.MovingDigitsDataModule"}
    with pytest.raises(ConfigError) as error:
        check_config(config, needs=("train",))
    message = str(error.value)
    assert "trainer: unknown key 'max_epoch'. Did you mean 'max_epochs'?" in message
    assert "model: unknown key 'in_feature'. Did you mean 'in_features'?" in message
    assert "datamodule.train: this task needs this section" in message


def test_check_config__a_datamodule_of_a_user_s_own_needs_no_sections():
    config = make_config()
    del config["datamodule"]["train"]
    check_config(config, needs=("train",))


def test_check_config__names_a_missing_section_and_one_without_target():
    with pytest.raises(ConfigError, match=r"datamodule: this section is missing(.|\n)*model: expected a mapping"):
        check_config({"model": 3, "trainer": {"_target_": "lightning.pytorch.Trainer"}}, needs=())
    config = {**make_config(), "model": {"trunk": {"name": "resnet18"}}}
    with pytest.raises(ConfigError, match=r"model: expected a mapping with a _target_, got one without$"):
        check_config(config, needs=())


def test_check_config__names_a_target_that_does_not_exist():
    config = make_config()
    config["model"]["_target_"] = "torch.nn.Lineer"
    with pytest.raises(ConfigError, match=r"has no 'Lineer'\. Did you mean 'Linear'"):
        check_config(config, needs=())


def test_check_config__warns_of_a_schedule_of_another_length():
    config = make_config(max_epochs=2)
    config["model"] = {"_target_": "builtins.dict", "optimizer": {"scheduler": {"params": {"max_epochs": 200}}}}
    with pytest.warns(UserWarning, match=r"max_epochs=200 is not trainer\.max_epochs=2"):
        check_config(config, needs=())


def test_check_batches__names_the_key_and_both_numbers():
    with pytest.raises(ConfigError, match=r"datamodule\.val\.global_batch_size=10 cannot be divided among 4.*8 or 12"):
        check_batches({"train": {"global_batch_size": 8}, "val": {"global_batch_size": 10}}, world_size=4)


@pytest.mark.parametrize("size", [0, "x", 2.5])
def test_check_batches__refuses_what_is_no_number_of_samples(size):
    with pytest.raises(ConfigError, match=rf"train\.global_batch_size={size!r}; expected a whole number of at least 1"):
        check_batches({"train": {"global_batch_size": size}}, world_size=1)
