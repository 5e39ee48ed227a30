import csv
import io
from typing import NamedTuple

import pytest
import torch
from tiny_run import TinyData, TinyModule, fit, make_trainer

from eztorch.callbacks import FailureMonitor, ProgressBar, ScalarLogger
from eztorch.callbacks.failures import _num_samples, append_failures
from eztorch.utils.errors import ConfigError, DataError
from eztorch.visualization.report import write_report


class Failure(NamedTuple):
    idx: int
    path: str
    decoder: str
    reason: str


class Collate:
    """Lets some samples fail: in training another one stands in, in evaluation they are missing."""

    def __init__(self, failing, replaces):
        self.failing, self.replaces = failing, replaces

    def __call__(self, samples):
        bad = [sample["idx"] for sample in samples if sample["idx"] in self.failing]
        good = samples if self.replaces else [sample for sample in samples if sample["idx"] not in self.failing]
        batch = torch.utils.data.default_collate(good) if good else {"input": None}
        if bad:
            failures = [Failure(i, f"v{i}.mp4", "pyav", "no\n  frames") for i in bad]
            batch["failures"] = failures
        return batch


class Failing(TinyData):
    def __init__(self, train=(), val=(), **options):
        super().__init__(**options)
        self.collates = {"train": Collate(train, True), "val": Collate(val, False)}

    def feature_dataloader(self, split):
        self.collate = self.collates[split]
        return super().feature_dataloader(split)


def read(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_failure_monitor__lists_and_counts_the_failures_of_training(tmp_path):
    path = tmp_path / "run" / "failed_samples.csv"
    run = fit(tmp_path, [FailureMonitor(path, max_failure_share=0.2)], data=Failing(train=(3, 9)), max_epochs=2)
    rows = read(path)
    assert [(row["epoch"], row["idx"]) for row in rows] == [("0", "3"), ("0", "9"), ("1", "3"), ("1", "9")]
    assert rows[0] == {
        "split": "train",
        "epoch": "0",
        "idx": "3",
        "path": "v3.mp4",
        "decoder": "pyav",
        "reason": "no frames",
    }
    assert int(run.trainer.callback_metrics["data/failed_samples"]) == 4


def test_failure_monitor__tells_of_the_first_failure_once(tmp_path):
    stream = io.StringIO()
    callbacks = [FailureMonitor(tmp_path / "failed_samples.csv", max_failure_share=0.5), ProgressBar(stream=stream)]
    fit(tmp_path, callbacks, data=Failing(train=(3, 9)), enable_progress_bar=True)
    told = [line for line in stream.getvalue().splitlines() if "could not be read" in line]
    assert told == [
        f"A training sample could not be read: v3.mp4 (pyav): no frames. See {tmp_path}/failed_samples.csv."
    ]


def test_failure_monitor__without_failures_writes_no_file(tmp_path):
    run = fit(tmp_path, [FailureMonitor(tmp_path / "failed_samples.csv")], data=Failing(), max_epochs=1)
    assert not (tmp_path / "failed_samples.csv").exists()
    assert int(run.trainer.callback_metrics["data/failed_samples"]) == 0
    assert int(run.trainer.callback_metrics["val/n_evaluated"]) == 7


def test_failure_monitor__ends_a_run_when_too_much_of_an_epoch_fails(tmp_path):
    path = tmp_path / "failed_samples.csv"
    text = r"2 of the 16 training samples of epoch 0.*max_failure_share=0.05.*last one: v2\.mp4 \(pyav\): no frames"
    with pytest.raises(DataError, match=text):
        fit(tmp_path, [FailureMonitor(path), ScalarLogger()], data=Failing(train=(1, 2, 15)), max_epochs=1)
    assert len(read(path)) == 2  # at once, not when the epoch is over


def test_failure_monitor__allows_the_share_itself(tmp_path):
    monitor = FailureMonitor(tmp_path / "failed_samples.csv", max_failure_share=2 / 16)
    run = fit(tmp_path, [monitor], data=Failing(train=(1, 2)), max_epochs=2)
    assert int(run.trainer.callback_metrics["data/failed_samples"]) == 4


def test_failure_monitor__counts_an_epoch_that_is_cut_short(tmp_path):
    monitor = FailureMonitor(tmp_path / "failed_samples.csv", max_failure_share=0.2)
    with pytest.raises(DataError, match="2 of the 8 training samples"):
        fit(tmp_path, [monitor], data=Failing(train=(1, 2)), max_epochs=2, limit_train_batches=2)


@pytest.mark.parametrize("failing", [(2,), (4, 5, 6)])  # of seven; the second is a whole batch
def test_failure_monitor__says_how_many_samples_were_evaluated(tmp_path, failing):
    path = tmp_path / "failed_samples.csv"
    trainer = make_trainer(tmp_path, [FailureMonitor(path)])
    evaluated = 7 - len(failing)
    with pytest.warns(UserWarning, match=f"test: {evaluated} of 7 samples were evaluated.*failed_samples.csv"):
        trainer.test(TinyModule(), datamodule=Failing(val=failing), verbose=False)
    assert int(trainer.callback_metrics["test/n_evaluated"]) == evaluated
    assert int(trainer.callback_metrics["test/n_expected"]) == 7
    assert [(row["split"], int(row["idx"])) for row in read(path)] == [("test", i) for i in failing]


@pytest.mark.parametrize(
    ("limit", "world", "expected"), [(1.0, 1, 17), (1.0, 2, 17), (2, 2, 16), (0.5, 2, 8), (9, 1, 17)]
)
def test_num_samples__is_that_of_all_ranks(limit, world, expected):
    loader = torch.utils.data.DataLoader(range(17), 4, sampler=range(1, 17, world))  # that of the last rank
    assert _num_samples(loader, limit, world) == expected


def test_failure_monitor__counts_each_validation_by_itself(tmp_path):
    path = tmp_path / "failed_samples.csv"
    with pytest.warns(UserWarning, match="val: 6 of 7"):
        run = fit(tmp_path, [FailureMonitor(path)], data=Failing(val=(2,)), max_epochs=3, num_sanity_val_steps=2)
    assert int(run.trainer.callback_metrics["val/n_evaluated"]) == 6
    assert [row["epoch"] for row in read(path)] == ["0", "1", "2"]


def test_failure_monitor__adds_to_the_file_of_a_run_that_continues(tmp_path):
    path = tmp_path / "failed_samples.csv"
    for _ in range(2):
        fit(tmp_path, [FailureMonitor(path, max_failure_share=1.0)], data=Failing(train=(3,)), max_epochs=1)
    assert [row["idx"] for row in read(path)] == ["3", "3"]


def test_failure_monitor__a_share_is_between_zero_and_one(tmp_path):
    with pytest.raises(ConfigError, match="max_failure_share=5"):
        FailureMonitor(tmp_path / "f.csv", max_failure_share=5)


class Foreign(TinyData):
    """Loaders that are not eztorch's: their dataset gives whole batches, or has no length."""

    def __init__(self, has_length):
        super().__init__()
        self.has_length = has_length

    def feature_dataloader(self, split):
        whole = list(super().feature_dataloader(split))
        if self.has_length:
            return torch.utils.data.DataLoader(whole, batch_size=None)
        return torch.utils.data.DataLoader(Stream(whole), batch_size=None)


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("has_length", [True, False])
def test_failure_monitor__leaves_loaders_alone_whose_samples_it_cannot_count(tmp_path, has_length):
    run = fit(tmp_path, [FailureMonitor(tmp_path / "failed.csv")], data=Foreign(has_length), limit_val_batches=2)
    assert run.trainer.global_step == 8
    assert "val/n_evaluated" not in run.trainer.callback_metrics
    assert "val/n_evaluated" in fit(tmp_path, [FailureMonitor(tmp_path / "failed.csv")]).trainer.callback_metrics


def test_append_failures__takes_names_in_any_encoding_and_the_report_shows_them(tmp_path):
    rows = [("train", 0, 3, "d/n\udce9.mp4", "pyav", "no frames"), ("val", 0, 1, "d/né.mp4", "pyav", "no frames")]
    append_failures(tmp_path / "failed_samples.csv", rows)
    assert b"train,0,3,d/n\xe9.mp4,pyav" in (tmp_path / "failed_samples.csv").read_bytes()
    page = write_report(tmp_path, title="t", command="c").read_text(encoding="utf-8")
    assert "d/n\ufffd.mp4" in page
    assert "d/né.mp4" in page
