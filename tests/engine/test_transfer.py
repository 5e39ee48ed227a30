"""From a pretraining to what its trunk is worth: linear evaluation, probe and fine-tuning by their commands."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from eztorch.engine.launch import main
from eztorch.engine.pretrained import with_pretrained, without_pretrained
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
]


@pytest.fixture
def command(tiny_linear, tmp_path):
    """Command line of a small evaluation without a test; pretrained.path and dir.exp are left to the test."""
    return [*tiny_linear, "~datamodule.test", f"dir.root={tmp_path}"]


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_tasks__measure_the_trunk_of_a_pretraining(tiny_pretraining, command, tmp_path, caplog, capfd):
    pretraining = [*tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=pretrain", "report=false"]
    pretraining += ["trainer.max_epochs=1", "model.optimizer.scheduler.params.warmup_epochs=0"]
    assert main("pretrain", pretraining) == 0
    checkpoint = tmp_path / "pretrain/checkpoints/last.ckpt"
    pretrained = torch.load(checkpoint, weights_only=True)["state_dict"]
    path = f"pretrained.path={checkpoint}"

    assert main("linear_classifier_evaluation", [*command, path, "dir.exp=linear"]) == 0
    found = metrics_of(tmp_path / "linear")
    assert found["val/n_evaluated"] == found["val/n_expected"] == 8
    evaluated = tmp_path / "linear/checkpoints/last.ckpt"
    weights = torch.load(evaluated, weights_only=True)["state_dict"]
    trunk = {name: value for name, value in weights.items() if name.startswith("trunk.")}
    assert len(trunk) > 50
    assert all(torch.equal(value, pretrained[name]) for name, value in trunk.items())

    sources = "probe.sources=[output,blocks.3/average_max]"
    assert main("linear_probe", [*command, path, "dir.exp=probe", sources, "probe.learning_rates=[0.1,1]"]) == 0
    found = metrics_of(tmp_path / "probe")
    assert found["linear/n_evaluated"] == found["linear/n_expected"] == 8
    with (tmp_path / "probe/linear_probe.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * 2 * 4  # sources, rates, decays
    (chosen,) = [row for row in rows if row["chosen"] == "1"]
    assert float(chosen["choice_acc_1"]) == max(float(row["choice_acc_1"]) for row in rows)
    assert float(chosen["choice_acc_1"]) == pytest.approx(found["linear/held_out_acc_1"])
    assert "16 heads, chosen on 10% of the training split, held out" in capfd.readouterr().out

    # A test takes its weights from the checkpoint alone: the file that the recipe requires need not be named.
    tested = [word for word in command if word != "~datamodule.test"]
    assert main("test", [*tested, "dir.exp=linear"]) == 0
    found = metrics_of(tmp_path / "linear")
    assert found["test/n_evaluated"] == 8
    assert found["test/acc_1"] == found["val/acc_1"]  # one clip, all of each frame


EVALUATION, PROBE = "linear_classifier_evaluation", "linear_probe"


@pytest.mark.parametrize(
    ("task", "overrides", "reason"),
    [
        (EVALUATION, [], "pretrained.path is not given: write pretrained.path=/path/to/last.ckpt"),
        (PROBE, [], "There is nothing to evaluate: ckpt_path is not given"),
        (PROBE, ["pretrained.path=/nowhere/x.ckpt"], "pretrained.path=/nowhere/x.ckpt: there is no such file"),
        (
            EVALUATION,
            ["pretrained.path=/a.ckpt", "+model.pretrained_trunk_path=/b.ckpt"],
            "both say what the trunk begins with; write one of them",
        ),
        (EVALUATION, ["+model.pretrained_trunk_path=/b.ckpt"], "model.pretrained_trunk_path=/b.ckpt: there is no such"),
    ],
)
def test_tasks__weights_that_cannot_be_used_are_told_before_anything_runs(
    command, tmp_path, capfd, task, overrides, reason
):
    assert main(task, [*command, "dir.exp=x", *overrides]) == 2
    assert reason in capfd.readouterr().err
    assert not (tmp_path / "x/checkpoints").exists()


def test_linear_probe__of_a_grid_that_cannot_be_is_an_error(command, capfd):
    assert main("linear_probe", [*command, "dir.exp=x", "ckpt_path=untrained", "probe.learning_rates=[]"]) == 2
    assert "probe.learning_rates=[]; expected positive numbers" in capfd.readouterr().err


def test_pretrained__two_files_of_a_trunk_are_an_error():
    model = {"trunk": {"_target_": "a.b"}, "pretrained_trunk_path": "x.ckpt", "trunk_pattern": "^t"}
    with pytest.raises(ConfigError, match=r"pretrained\.path=y\.ckpt and model\.pretrained_trunk_path=x\.ckpt"):
        with_pretrained({"model": model, "pretrained": {"path": "y.ckpt"}})
    assert without_pretrained({"model": model}) == {"model": {"trunk": {"_target_": "a.b"}}}
