import re

import pytest
import torch
import yaml

from eztorch.engine.launch import main
from eztorch.engine.pretrained import network_key, with_pretrained
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
]


def test_with_pretrained__leaves_a_configuration_without_weights_alone():
    config = {"model": {"trunk": {"_target_": "a.b"}}, "pretrained": {"path": None, "strict": True}}
    assert with_pretrained(config) is config
    assert with_pretrained({"model": {}}) == {"model": {}}


@pytest.mark.parametrize("key", ["trunk", "model"])
def test_with_pretrained__surrounds_the_network_and_changes_nothing_else(key):
    config = {"model": {key: {"_target_": "a.b"}, "lr": 1}, "pretrained": {"path": "x", "strict": False}}
    found = with_pretrained(config)
    assert config["model"][key] == {"_target_": "a.b"}
    assert found["model"]["lr"] == 1
    assert network_key(found["model"]) == key
    assert found["model"][key] == {
        "_target_": "eztorch.models.weights.pretrained_trunk",
        "_recursive_": False,
        "path": "x",
        "strict": False,
        "trunk": {"_target_": "a.b"},
    }


def test_with_pretrained__says_what_cannot_be():
    with pytest.raises(ConfigError, match=r"write pretrained\.path=x\.ckpt"):
        with_pretrained({"model": {}, "pretrained": "x.ckpt"})
    with pytest.raises(ConfigError, match="neither trunk nor model"):
        with_pretrained({"model": {"_target_": "a.b"}, "pretrained": {"path": "x.ckpt"}})


def test_pretrain__begins_with_the_weights_of_another_run(tiny_pretraining, tmp_path, caplog):
    first = [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=first", "trainer.max_epochs=1"]
    assert main("pretrain", first) == 0
    checkpoint = tmp_path / "first" / "checkpoints" / "last.ckpt"
    still = ["model.optimizer.initial_lr=1e-12", "trainer.max_epochs=1", "seed.seed=7", f"pretrained.path={checkpoint}"]
    with caplog.at_level("INFO", logger="eztorch"):
        assert main("pretrain", [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=second", *still]) == 0
    assert re.search(rf"Weights of \w+ from {checkpoint} \(eztorch, state_dict\)\n  matched", caplog.text)
    begun = torch.load(checkpoint)["state_dict"]
    ended = torch.load(tmp_path / "second" / "checkpoints" / "last.ckpt")["state_dict"]
    weights = [name for name in begun if name.startswith("trunk.") and name.endswith("weight")]
    assert len(weights) > 10
    for name in weights:  # at such a rate nothing moves: neither the trunk nor the target that began as its copy
        torch.testing.assert_close(ended[name], begun[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(ended[f"target.{name}"], begun[name], rtol=0, atol=1e-6)
    assert "pretrained_trunk" not in yaml.safe_dump(
        yaml.safe_load((tmp_path / "second" / "config.yaml").read_text())["model"]
    )


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["pretrained.path=/nowhere/x.ckpt"], "pretrained.path=/nowhere/x.ckpt: there is no such file"),
        (["pretrained.path=/nowhere/x.ckpt", "+pretrained.patern=x"], "Did you mean 'pattern'?"),
    ],
)
def test_pretrain__weights_that_cannot_be_used_are_told_before_training(
    tiny_pretraining, tmp_path, capfd, overrides, reason
):
    assert main("pretrain", [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=x", *overrides]) == 2
    assert reason in capfd.readouterr().err
