"""Rehearsals from the command line, on real videos."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from eztorch.callbacks.rehearsal import _seconds_a_sample
from eztorch.engine.launch import main
from eztorch.engine.rehearsal import _moved

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no use for"),  # the recipe's arguments of the frame decoder
    pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
]
WELL = "The rehearsal went well. Nothing of it was kept."
CLASSIFIER = [
    "-cn",
    "demo_supervised",
    "datamodule.num_train=32",
    "datamodule.num_val=9",
    "datamodule.train.global_batch_size=2",
    "datamodule.val.global_batch_size=2",
    "datamodule.test.global_batch_size=2",
    *(f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val", "test")),
]


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def rows_of(told: str) -> dict[str, str]:
    names = ("training", "a batch", "losses", "precision", "memory", "a step", "reading", "the rest")
    return {name: line[len(name) :].strip() for line in told.splitlines() for name in names if line.startswith(name)}


def test_rehearsal__takes_the_first_steps_of_the_training_and_keeps_nothing(
    tiny_pretraining, tmp_path, capsys, caplog, monkeypatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    words = [*tiny_pretraining, f"dir.root={tmp_path}/out", "dir.exp=one", "+callbacks.knn.every_n_epochs=1"]
    words += ["+callbacks.knn._target_=eztorch.callbacks.KNNEvaluator"]
    with caplog.at_level("INFO", logger="eztorch"):
        assert main("pretrain", [*words, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert caplog.messages[-1] == WELL
    assert "callbacks.knn is not rehearsed: it goes over all data." in caplog.messages
    assert not (tmp_path / "out").exists()
    assert not list(temporary.iterdir())

    assert main("pretrain", [*words, "report=false", "~callbacks.knn"]) == 0
    with (tmp_path / "out/one/metrics.csv").open() as file:
        losses = [float(row["pretrain/loss"]) for row in csv.DictReader(file) if row["pretrain/loss"]]
    rows = rows_of(told)
    assert [float(loss) for loss in rows["losses"].split(", ")] == pytest.approx(losses[:4], rel=1e-3)
    assert "4 optimizer steps in 2 epochs" in rows["training"]
    assert rows["a batch"].startswith("4 samples, 2 views of 4 x 3 x ")
    assert rows["the rest"].endswith("for 4 steps at that pace, without evaluations")
    assert "reading" not in rows  # the steps read themselves


@pytest.mark.parametrize(("read_s", "verdict"), [(1e-6, "enough"), (1e6, "fewer than it takes: it will wait")])
def test_rehearsal__says_whether_workers_keep_up(tmp_path, capsys, monkeypatch, read_s, verdict):
    monkeypatch.setattr("eztorch.callbacks.rehearsal._seconds_a_sample", lambda loader: read_s)
    words = [*CLASSIFIER, f"dir.root={tmp_path}", "~datamodule.test", "datamodule.train.loader.num_workers=1"]
    assert main("supervised", [*words, "--dry-run"]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["reading"].endswith(verdict)
    assert ("days" in rows["the rest"]) == (read_s > 1)


def test_seconds_a_sample__reads_samples_of_the_first_batch():
    read = []

    class Samples(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    seconds = _seconds_a_sample(DataLoader(Samples(range(20)), batch_size=3))
    assert read == [0, 1, 2]
    assert 0 < seconds < 1
    assert _seconds_a_sample(DataLoader(Samples(range(20)), batch_size=None)) is None


def test_rehearsal__of_a_classifier_validates_and_tests(tmp_path, capsys, caplog):
    words = [*CLASSIFIER, f"dir.root={tmp_path}", "+trainer.accumulate_grad_batches=2", "+trainer.min_epochs=5"]
    with caplog.at_level("INFO", logger="eztorch"):
        assert main("supervised", ["--dry-run", *words]) == 0
    told = capsys.readouterr().out
    assert "Test of 4 of 9 samples" in caplog.text + told
    rows = rows_of(told)
    assert "2 batches a step" in rows["training"]
    assert len(rows["losses"].split(", ")) == 4
    assert "the median of 3" in rows["a step"]
    assert caplog.messages[-1] == WELL
    assert {path.name for path in tmp_path.iterdir()} == {"moving_digits"}  # data that were missing


def test_rehearsal__continues_where_the_run_directory_stands_and_leaves_it_alone(tmp_path, capsys, caplog):
    words = [*CLASSIFIER, f"dir.root={tmp_path}", "~datamodule.test", "report=false", "trainer.max_epochs=20"]
    stop = ["+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: train/loss}"]
    stop += ["+callbacks.stop.stopping_threshold=1e9", "+callbacks.stop.check_on_train_epoch_end=true"]
    assert main("supervised", [*words, *stop]) == 0
    before = files_of(tmp_path)
    with caplog.at_level("INFO", logger="eztorch"):
        assert main("supervised", [*words, "--dry-run"]) == 0
    assert f"Continuing from {tmp_path}/demo_supervised/checkpoints/last.ckpt." in caplog.messages
    assert rows_of(capsys.readouterr().out)["the rest"].split(" for ")[1].startswith("304 steps")  # of 320
    assert caplog.messages[-1] == WELL
    assert files_of(tmp_path) == before


def test_rehearsal__finds_what_would_end_the_training_after_its_first_epoch(tmp_path, caplog, capsys):
    words = [*CLASSIFIER, f"dir.root={tmp_path}", "+callbacks.best._target_=eztorch.callbacks.ModelCheckpoint"]
    words += ["+callbacks.best.monitor=val/acc_l", "+callbacks.best.dirpath=best"]
    with caplog.at_level("INFO", logger="eztorch"):
        assert main("supervised", [*words, "--dry-run"]) == 2
    assert "error: `ModelCheckpoint(monitor='val/acc_l')` could not find" in capsys.readouterr().err
    assert WELL not in caplog.messages
    assert not (tmp_path / "demo_supervised").exists()


@pytest.mark.parametrize(
    ("task", "words", "reason"),
    [
        ("test", [], "--dry-run rehearses a training: pretrain, supervised, linear_classifier_evaluation."),
        ("supervised", ["-m"], "--dry-run rehearses one job: leave --multirun out."),
        ("supervised", ["--cfg", "job"], "--dry-run rehearses one job: leave --cfg out."),
        ("supervised", ["dir.root=/dev/null/place"], "The run directory /dev/null/place/demo_supervised cannot be"),
    ],
)
def test_rehearsal__refuses_what_it_cannot_rehearse(task, words, reason, capsys):
    assert main(task, ["-cn", "demo_supervised", "--dry-run", *words]) == 2
    assert reason in capsys.readouterr().err


def test_moved__changes_what_lies_in_the_run_directory_alone():
    inside, beside = os.path.join("/runs/a", "checkpoints"), "/runs/ab"
    config = {"dirpath": inside, "list": ["/runs/a", beside, 3], "text": "see /runs/a"}
    assert _moved(config, "/runs/a", "/tmp/x") == {
        "dirpath": "/tmp/x/checkpoints",
        "list": ["/tmp/x", beside, 3],
        "text": "see /runs/a",
    }
