import argparse
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from eztorch.models.weights import read_weights
from eztorch.utils.errors import ConfigError

STATE = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2))


class Command:
    """What a pickle can do to the one who loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("container", ["", "state_dict", "model_state", "model", "teacher"])
def test_read_weights__finds_them_where_trainers_put_them(tmp_path, container):
    content = {container: STATE, "optimizer": {"state": {}}, "epoch": 7} if container else STATE
    torch.save(content, tmp_path / "x.pth")
    file = read_weights(tmp_path / "x.pth")
    assert file.container == container
    assert list(file.tensors) == ["weight", "bias"]
    assert torch.equal(file.tensors["weight"], STATE["weight"])
    assert file.facts == ({"epoch": "7"} if container else {})


def test_read_weights__leaves_out_the_configurations_of_a_checkpoint(tmp_path):
    config = OmegaConf.create({"trunk": {"depth": [1, 2]}, "lr": 0.1})
    content = {
        "state_dict": STATE,
        "hyper_parameters": config,
        "args": argparse.Namespace(lr=0.1),
        "folder": tmp_path,
        "best": np.float64(0.5),
        "global_step": 12,
        "pytorch-lightning_version": "2.1.0",
    }
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.ckpt", weights_only=True)
    file = read_weights(tmp_path / "x.ckpt")
    assert torch.equal(file.tensors["weight"], STATE["weight"])
    assert file.facts == {"global_step": "12", "pytorch-lightning_version": "2.1.0"}


@pytest.mark.parametrize("legacy", [False, True])
def test_read_weights__runs_nothing_of_a_file(tmp_path, legacy):
    made = tmp_path / "made"
    torch.save(
        {"state_dict": STATE, "extra": Command(made)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(ConfigError, match=r"needs objects beside tensors, posix\.mkdir") as error:
        read_weights(tmp_path / "x.pth", key="pretrained.path")
    assert str(error.value).startswith(f"pretrained.path={tmp_path / 'x.pth'} ")
    assert not made.exists()


def test_read_weights__what_is_left_out_runs_nothing_either(tmp_path):
    made = tmp_path / "made"
    torch.save({"state_dict": STATE, "hyper_parameters": {"inner": Command(made)}}, tmp_path / "x.pth")
    with pytest.raises(ConfigError):
        read_weights(tmp_path / "x.pth")
    assert not made.exists()


def test_read_weights__refuses_a_pickled_module_and_says_what_to_do(tmp_path):
    torch.save(nn.Linear(2, 3), tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"needs objects .*Linear.*save its weights alone, once: torch\.save"):
        read_weights(tmp_path / "x.pth")


def test_read_weights__files_from_before_zip(tmp_path):
    torch.save({"state_dict": STATE}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_weights(tmp_path / "x.pth").tensors["weight"], STATE["weight"])


def test_read_weights__safetensors_with_their_metadata(tmp_path):
    save_file(dict(STATE), tmp_path / "x.safetensors", metadata={"format": "pt", "epoch": "3"})
    file = read_weights(tmp_path / "x.safetensors")
    assert torch.equal(file.tensors["weight"], STATE["weight"])
    assert file.facts == {"format": "pt", "epoch": "3"}


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04" + b"\0" * 100])
def test_read_weights__damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        read_weights(tmp_path / name)


def test_read_weights__a_file_that_is_cut_is_named(tmp_path):
    torch.save(dict(STATE), tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"x\.pth is no file of weights, or damaged"):
        read_weights(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content", [{"epoch": 3}, {}, {"counter": torch.ones(1), "epoch": 3, "lr": 0.1}, torch.ones(2)]
)
def test_read_weights__files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"x\.pth (has no weights|holds a Tensor)"):
        read_weights(tmp_path / "x.pth")


def test_read_weights__what_is_not_there(tmp_path):
    torch.save(dict(STATE), tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match=r"there is no such file\. Did you mean .*last\.ckpt"):
        read_weights(tmp_path / "lst.ckpt")
    with pytest.raises(ConfigError, match=r"is a folder\. Files of weights in it: last\.ckpt\."):
        read_weights(tmp_path)
