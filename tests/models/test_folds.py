"""E epochs of N passes over the data are the run of E * N epochs of one."""

import math
from pathlib import Path

import pytest
import torch
from tiny_folds import SaveAt, classifier, siamese, train

from eztorch.callbacks.failures import _num_samples
from eztorch.datamodules import RandomDataModule
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


def assert_same(found, expected):
    assert [step["idx"] for step in found["steps"]] == [step["idx"] for step in expected["steps"]]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("method", [classifier, siamese])
def test_folds__are_the_epochs_without_them(tmp_path, method, interval, drop_last):
    # A queue takes whole batches, and a scheduler by the epoch is stretched: T_max=2 is six passes.
    options = {"method": method, "interval": interval, "drop_last": drop_last or method is siamese}
    found, expected = (train(tmp_path, epochs=epochs, folds=6 // epochs, **options) for epochs in (2, 6))
    assert len(found["steps"]) == 6 * (2 if options["drop_last"] else 3)
    assert len({tuple(step["lr"]) for step in found["steps"]}) == (6 if interval == "epoch" else len(found["steps"]))
    assert_same(found, expected)


def test_folds__have_the_rate_of_essentialmc2_by_the_step(tmp_path):
    """Its rate is that of epoch + num_folds * iter / max_iter, where its epochs count passes."""
    epochs, folds, iterations = 2, 3, 9
    found = train(tmp_path, epochs=epochs, folds=folds, interval="step")
    for number, step in enumerate(found["steps"]):
        epoch, iteration = divmod(number, iterations)
        passes = epoch * folds + folds * iteration / iterations
        assert step["lr"] == [pytest.approx(0.5 * (1 + math.cos(math.pi * passes / (epochs * folds))) / 2)]


def test_folds__with_accumulated_gradients_are_the_epochs_without_them(tmp_path):
    options = {"accumulate_grad_batches": 3, "interval": "step"}
    found, expected = (train(tmp_path, epochs=epochs, folds=6 // epochs, **options) for epochs in (2, 6))
    assert_same(found, expected)


def test_folds__refuse_a_step_over_two_passes(tmp_path):
    message = r"accumulate_grad_batches=2 does not divide the 3 batches of a pass.*num_folds=3"
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, epochs=2, folds=3, accumulate_grad_batches=2)


@pytest.mark.parametrize("batches", [2, 3, 8, 9, 13])
def test_folds__continue_in_the_middle_of_an_epoch(tmp_path, batches):
    path = tmp_path / "middle.ckpt"
    whole = train(tmp_path, epochs=2, folds=3, callbacks=[SaveAt(batches, path)])
    rest = train(tmp_path, epochs=2, folds=3, ckpt_path=path)
    assert len(whole["steps"]) == 18
    assert_same(rest, {**whole, "steps": whole["steps"][batches:]})


def test_folds__of_an_epoch_that_is_cut_short_do_not_stop_a_run(tmp_path):
    found = train(tmp_path, epochs=2, folds=3, limit_train_batches=4)
    assert [len(step["idx"]) for step in found["steps"]] == [4, 4, 3, 4] * 2
    assert [step["lr"] for step in found["steps"]] == [[0.5]] * 4 + [[0.25]] * 4


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 33), (3, 11), (4, 15), (100, 33)])
def test_folds__count_in_the_share_of_failures(limit, expected):
    split = {"dataset": {"shape": [1], "len_dataset": 11}, "global_batch_size": 4, "num_folds": 3}
    assert _num_samples(RandomDataModule(train=split).train_dataloader(), limit, 1) == expected


def test_folds__of_two_processes_are_the_epochs_without_them(run_program, tmp_path):
    run_program(Path(__file__).with_name("tiny_folds.py"), tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for found, expected in ranks:
        assert_same(found, expected)
    alone = train(tmp_path, epochs=2, folds=3, drop_last=True)
    together = [a["idx"] + b["idx"] for a, b in zip(ranks[0][0]["steps"], ranks[1][0]["steps"], strict=True)]
    assert [sorted(idx) for idx in together] == [sorted(step["idx"]) for step in alone["steps"]]
