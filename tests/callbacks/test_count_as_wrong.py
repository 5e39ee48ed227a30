"""Failures that count as wrong answers, in every accuracy of a run over real images."""

import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from PIL import Image
from tiny_run import make_trainer
from torch import nn

from eztorch.callbacks import FailureMonitor, KNNEvaluator, OnlineEvaluator
from eztorch.datamodules import FolderDataModule
from eztorch.models import SupervisedModel

OPTIMIZER = {"_target_": "eztorch.optimizers.optimizer_factory", "name": "sgd", "initial_lr": 0.1}


@pytest.fixture
def folder(tmp_path):
    """Two classes, dark and bright, of five training and four validation images, of which one is torn."""
    for split, count in {"train": 5, "val": 4}.items():
        for label, name in enumerate(("bright", "dark")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.random.default_rng((label, index)).integers(0, 128, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels + 127 * (1 - label)).save(tmp_path / split / name / f"{index}.png")
    (tmp_path / "val" / "dark" / "2.png").write_bytes(b"torn")
    return tmp_path


def metrics_of(folder, on_error):
    seed_everything(1, verbose=False)
    transform = lambda sample: {**sample, "input": sample["input"] / 255}  # noqa: E731
    train = {"global_batch_size": 5, "transform": transform}
    data = FolderDataModule(folder, train=train, val={**train, "global_batch_size": 2, "on_error": on_error})
    model = SupervisedModel(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), OPTIMIZER)
    callbacks = [
        FailureMonitor(folder / "failed_samples.csv"),
        KNNEvaluator(k=1, input_name="logits"),
        OnlineEvaluator(OPTIMIZER, nn.Linear(2, 2), input_name="logits"),
    ]
    trainer = make_trainer(folder, callbacks, max_epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="val: 7 of 8 samples were evaluated")
        trainer.fit(model, datamodule=data)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_count_as_wrong__is_in_every_accuracy_and_in_no_loss(folder):
    skipped, counted = metrics_of(folder, "skip"), metrics_of(folder, "count_as_wrong")
    for name in ("val/acc_1", "online/val_acc_1", "knn/acc_1", "knn/acc_1_untrained"):
        assert skipped[name] > 0
        assert counted[name] == pytest.approx(skipped[name] * 7 / 8), name
    for name in ("val/loss", "online/val_loss", "online/train_acc_1", "online/train_loss"):
        assert counted[name] == skipped[name], name


@pytest.mark.parametrize("on_error", ["skip", "count_as_wrong"])
def test_every_number__says_what_it_is_over(folder, on_error):
    metrics = metrics_of(folder, on_error)
    for kind in ("val", "online", "knn"):
        assert (metrics[f"{kind}/n_evaluated"], metrics[f"{kind}/n_expected"]) == (7, 8), kind


def test_raise__ends_an_evaluation_with_the_path(folder):
    with pytest.raises(Exception, match=r"val/dark/2\.png"):
        metrics_of(folder, "raise")


def test_all_failures__that_count_are_an_accuracy_of_zero(folder):
    for path in (folder / "val").glob("*/*.png"):
        path.write_bytes(b"torn")
    model = SupervisedModel(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), OPTIMIZER)
    val = {"global_batch_size": 2, "on_error": "count_as_wrong"}
    (found,) = make_trainer(folder, []).validate(model, datamodule=FolderDataModule(folder, val=val), verbose=False)
    assert found == {"val/acc_1": 0.0, "val/n_evaluated": 0.0, "val/n_expected": 8.0}
    assert torch.isfinite(torch.tensor(found["val/acc_1"]))
