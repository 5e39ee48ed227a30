from __future__ import annotations

import os
from argparse import Namespace

import pytest
import torch

from eztorch.engine.launch import main
from eztorch.engine.resume import check_checkpoint, find_checkpoint
from eztorch.utils.errors import ConfigError


@pytest.fixture
def run_dir(tmp_path):
    """Two checkpoints in different folders; the one of the lesser name is the newer."""
    for age, name in [(200, "zzz/epoch=9.ckpt"), (100, "checkpoints/last.ckpt")]:
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(b"")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return tmp_path


def test_find_checkpoint__continues_the_newest_of_the_run_directory(run_dir):
    assert find_checkpoint(None, run_dir) == run_dir / "checkpoints" / "last.ckpt"


def test_find_checkpoint__starts_afresh_in_an_empty_or_missing_run_directory(tmp_path):
    assert find_checkpoint(None, tmp_path) is None
    assert find_checkpoint(None, tmp_path / "missing") is None


def test_find_checkpoint__takes_the_file_that_is_asked_for(run_dir):
    assert find_checkpoint(str(run_dir / "zzz/epoch=9.ckpt"), run_dir) == run_dir / "zzz/epoch=9.ckpt"


def test_find_checkpoint__takes_the_newest_of_a_folder(run_dir):
    assert find_checkpoint(str(run_dir / "zzz"), run_dir).name == "epoch=9.ckpt"


def test_find_checkpoint__an_explicit_file_that_is_missing_is_an_error(run_dir):
    with pytest.raises(ConfigError, match=r"ckpt_path=.*epoch=8\.ckpt does not exist.*epoch=9\.ckpt"):
        find_checkpoint(str(run_dir / "zzz/epoch=8.ckpt"), run_dir)


def test_find_checkpoint__a_folder_without_checkpoints_is_an_error(run_dir):
    (run_dir / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"test\.ckpt_path=.*is a folder without a checkpoint"):
        find_checkpoint(str(run_dir / "empty"), run_dir, key="test.ckpt_path")


@pytest.mark.filterwarnings("ignore:.*has no use for", "ignore:.*max_epochs=.* is not trainer.max_epochs")
def test_a_checkpoint_of_another_model__is_an_error_that_names_it(tiny_pretraining, tmp_path, capsys):
    command = [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=run", "report=false"]
    assert main("pretrain", [*command, "trainer.max_epochs=1"]) == 0
    assert main("pretrain", [*command, "model.predictor.hidden_dims=[24]"]) == 2
    message = capsys.readouterr().err
    assert "last.ckpt is of another model" in message
    assert "size mismatch for predictor" in message
    assert "Traceback" not in message


def test_find_checkpoint__leaves_the_runs_inside_of_a_run_alone(run_dir):
    (run_dir / "config.yaml").touch()
    inner = run_dir / "sweep" / "0"
    (inner / "checkpoints").mkdir(parents=True)
    (inner / "config.yaml").touch()
    (inner / "checkpoints" / "last.ckpt").touch()
    assert find_checkpoint(None, run_dir) == run_dir / "checkpoints" / "last.ckpt"
    assert find_checkpoint(str(run_dir), run_dir) == inner / "checkpoints" / "last.ckpt"  # asked for


def test_find_checkpoint__looks_for_names_in_one_folder_alone(run_dir):
    with pytest.raises(ConfigError, match=r"missing\.ckpt does not exist\. Leave"):
        find_checkpoint(str(run_dir / "missing.ckpt"), run_dir)


CHECKPOINT = {
    "state_dict": {"w": torch.zeros(2)},
    "pytorch-lightning_version": "2.5",
    "optimizer_states": [],
    "epoch": 2,
}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": torch.zeros(2)}, r"holds weights, but is no checkpoint of a run; pretrained\.path=.*last\.ckpt begins"),
        ({**CHECKPOINT, "epoch": 5}, r"last\.ckpt is of epoch 6, beyond trainer\.max_epochs=2\. Raise it"),
        (
            {key: value for key, value in CHECKPOINT.items() if key != "optimizer_states"},
            r"was saved without the state of the optimizer.*pretrained\.path=",
        ),
    ],
)
def test_check_checkpoint__says_what_a_file_lacks(tmp_path, content, message):
    file = tmp_path / "last.ckpt"
    torch.save(content, file)
    with pytest.raises(ConfigError, match=message):
        check_checkpoint(file, max_epochs=2)


def test_check_checkpoint__takes_what_goes_on(tmp_path):
    file = tmp_path / "last.ckpt"
    torch.save(CHECKPOINT, file)
    check_checkpoint(file, max_epochs=2)  # nothing is left to do
    check_checkpoint(file, max_epochs=-1)
    torch.save({**CHECKPOINT, "callbacks": {"mine": Namespace()}}, file)
    check_checkpoint(file, max_epochs=2)
    del (weights := dict(CHECKPOINT))["optimizer_states"]
    torch.save(weights, file)
    check_checkpoint(file, to_train=False)


@pytest.mark.parametrize("length", [0, 30, 400])
def test_check_checkpoint__names_a_damaged_file_and_the_one_before_it(tmp_path, length):
    file = tmp_path / "last.ckpt"
    torch.save(CHECKPOINT, file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ConfigError, match=r"last\.ckpt is damaged, or no checkpoint \(\w+\)\. Remove it to start anew"):
        check_checkpoint(file)
    (tmp_path / "epoch=3.ckpt").touch()
    with pytest.raises(ConfigError, match=r"Remove it to go on from .*epoch=3\.ckpt, or name another one"):
        check_checkpoint(file)
