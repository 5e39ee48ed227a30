from __future__ import annotations

import os

import pytest

from eztorch.engine.launch import main
from eztorch.engine.resume import find_checkpoint
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
