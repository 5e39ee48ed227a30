"""The task scorecard, from the command line, on real videos: its numbers are those of the tasks that it stands for."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eztorch.engine.launch import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
]
SMALL = ["scorecard.most_points=8", "scorecard.num_queries=2", "scorecard.num_maps=1", "knn.k=[2,1]", "probe.epochs=5"]


@pytest.fixture(scope="module")
def checkpoint(tiny_pretraining, tmp_path_factory) -> Path:
    """Of a pretraining of one epoch."""
    root = tmp_path_factory.mktemp("pretrained")
    short = ["trainer.max_epochs=1", "model.optimizer.scheduler.params.warmup_epochs=0", "report=false"]
    short += ["datamodule.val.global_batch_size=4", "callbacks=null"]
    assert main("pretrain", [*tiny_pretraining, *short, f"dir.root={root}", "dir.exp=run"]) == 0
    return root / "run/checkpoints/last.ckpt"


def read(folder: Path, name: str = "scorecard.json") -> dict:
    return json.loads((folder / name).read_text())


def test_scorecard__has_the_numbers_of_the_tasks_each_with_how_it_came_about(checkpoint, capsys):
    run = checkpoint.parents[1]
    before = read(run, "metrics.json")
    assert main("scorecard", [f"checkpoint={checkpoint}", *SMALL]) == 0
    printed = capsys.readouterr().out
    folder = run / "evaluation/scorecard"
    card = read(folder)
    assert card["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert card["not_measured"] == {"test": "SCEModel is no classifier"}
    entries = card["entries"]
    protocols = ["kNN, k = 2", "kNN, k = 1", "retrieval", "linear probe", "features"]
    assert list(dict.fromkeys(entry["protocol"] for entry in entries)) == protocols
    for entry in entries:
        assert (entry["n_evaluated"], entry["n_expected"]) == (8, 8)
        assert entry["settings"]["input"] == "3 x 4 x 32 x 32"
        assert f"checkpoint={checkpoint}" in entry["command"]
        assert "scorecard." not in entry["command"]
    assert "Not measured: test: SCEModel is no classifier" in printed
    page = (folder / "scorecard.html").read_text()
    for title in ("Features of the validation split", "Nearest neighbours", "Linear probe: confusions"):
        assert f"<summary>{title}" in page
    assert page.count("temperature 0.07") == 2  # once for each k, not once for each number
    assert read(run, "metrics.json") == before  # the training keeps its numbers

    for task, protocol, metric in (
        ("knn", "kNN, k = 2", "knn/acc_1_k2_t0.07"),
        ("knn", "kNN, k = 1", "knn/acc_1_k1_t0.07"),
        ("retrieval_from_bank", "retrieval", "retrieval/r_1"),
        ("linear_probe", "linear probe", "linear/acc_1"),
    ):
        words = next(entry["command"] for entry in entries if entry["protocol"] == protocol)
        words = shlex.split(words)
        assert words[:2] == ["eztorch", task]
        assert main(task, words[2:]) == 0
        value = next(entry["value"] for entry in entries if entry["protocol"] == protocol)
        assert value == read(run / "evaluation" / task, "metrics.json")[metric]


def test_scorecard__is_the_same_on_two_processes(checkpoint, tmp_path):
    command = [f"checkpoint={checkpoint}", *SMALL, "scorecard.pictures=false", "datamodule.val.global_batch_size=2"]
    assert main("scorecard", [*command, f"dir.run={tmp_path}/one"]) == 0
    two = [*command, f"dir.run={tmp_path}/two", "trainer.devices=2"]
    done = subprocess.run(
        [sys.executable, "-m", "eztorch", "scorecard", *two],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = (read(tmp_path / name)["entries"] for name in ("one", "two"))
    for entry, other in zip(one, two, strict=True):
        assert (entry["protocol"], entry["metric"]) == (other["protocol"], other["metric"])
        assert (entry["n_evaluated"], entry["n_expected"]) == (other["n_evaluated"], other["n_expected"]) == (8, 8)
        assert entry["value"] == pytest.approx(other["value"], rel=1e-4)


def test_scorecard__of_a_classifier_on_a_trunk_tests_it_and_measures_its_features(tiny_linear, tmp_path, checkpoint):
    linear = [*tiny_linear, f"dir.root={tmp_path}", "dir.exp=run", f"pretrained.path={checkpoint}"]
    assert main("linear_classifier_evaluation", linear) == 0
    trained = tmp_path / "run/checkpoints/last.ckpt"
    assert main("scorecard", [f"checkpoint={trained}", *SMALL]) == 0
    card = read(tmp_path / "run/evaluation/scorecard")
    assert card["not_measured"] == {}
    values = {(entry["protocol"], entry["metric"]): entry for entry in card["entries"]}
    tested = values["test", "top-1 accuracy"]
    assert tested["settings"]["views"] == "1 in time x 3 in space"
    assert tested["value"] == read(tmp_path / "run", "metrics.json")["test/acc_1"]
    assert ("kNN, k = 1", "top-1 accuracy") in values
    page = (tmp_path / "run/evaluation/scorecard/scorecard.html").read_text()
    assert "<summary>Test: calibration" in page
    assert "<summary>What speaks for" in page


def test_scorecard__errors_name_what_is_wrong(checkpoint, capsys):
    command = [f"checkpoint={checkpoint}"]
    assert main("scorecard", [*command, "scorecard.protocols=[test]"]) == 2
    assert "scorecard.protocols: test does not fit: SCEModel is no classifier." in capsys.readouterr().err
    assert main("scorecard", [*command, "scorecard.protocols=[kn]"]) == 2
    assert "Did you mean 'knn'?" in capsys.readouterr().err
    assert main("scorecard", [*command, "scorecard.protocols=knn"]) == 2
    assert "expected a list of names" in capsys.readouterr().err
    assert main("scorecard", [*command, "++scorecard.picture=false"]) == 2
    assert "Did you mean 'pictures'?" in capsys.readouterr().err


def test_scorecard__of_a_run_whose_configuration_lacks_sections_takes_their_defaults(checkpoint, tmp_path):
    shutil.copytree(checkpoint.parent, tmp_path / "old/checkpoints")
    config = yaml.safe_load((checkpoint.parents[1] / "config.yaml").read_text())
    for section in ("extract", "knn", "retrieval", "probe", "scorecard"):
        assert config.pop(section)
    (tmp_path / "old/config.yaml").write_text(yaml.safe_dump(config))
    assert main("scorecard", [f"checkpoint={tmp_path / 'old'}", "+scorecard.pictures=false"]) == 0
    found = {entry["protocol"] for entry in read(tmp_path / "old/evaluation/scorecard")["entries"]}
    assert found == {"kNN, k = 20", "kNN, k = 10", "kNN, k = 200", "retrieval", "linear probe", "features"}


def test_test__of_a_model_without_classes_says_what_measures_it(checkpoint, capsys):
    assert main("test", [f"checkpoint={checkpoint}"]) == 2
    message = capsys.readouterr().err
    assert "SCEModel is no classifier" in message
    assert "eztorch scorecard" in message
