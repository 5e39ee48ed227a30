from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import average_precision_score
from tiny_classifier import OPTIMIZER
from torch import nn
from torch.nn import functional as F

from eztorch.callbacks import FailureMonitor, KNNEvaluator, OnlineEvaluator
from eztorch.datamodules import CaterDataModule
from eztorch.datasets import SampleFailure
from eztorch.models import SupervisedModel
from eztorch.models.average_precision import average_precision
from eztorch.models.multi_label import MultiLabelScores, top_accuracies
from eztorch.models.views import Aggregation
from eztorch.utils.errors import ConfigError, DataError

from ..conftest import moving_bar, write_video

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]

CLASSES, VIDEOS, VIEWS = 7, 12, 3


@pytest.fixture
def views():
    """Logits and labels (36, 7), video index (36,), shuffled; class 6 is nowhere and video 2 has no class."""
    generator = torch.Generator().manual_seed(1)
    idx = torch.arange(VIDEOS).repeat_interleave(VIEWS)[torch.randperm(VIDEOS * VIEWS, generator=generator)]
    labels = (torch.rand(VIDEOS, CLASSES, generator=generator) < 0.3).float()
    labels[:, 6] = 0
    labels[2] = 0
    return 2 * torch.randn(len(idx), CLASSES, generator=generator), labels[idx], idx


def slow_reference(scores, labels, extra=None):
    """Precisions by scikit-learn and hits in a loop; `extra` are labels of wrong answers."""
    extra = labels[:0] if extra is None else extra
    truth = torch.cat([labels, extra]).numpy()
    ranked = np.concatenate([scores.numpy(), np.full(extra.shape, -1.0)])
    precisions = [average_precision_score(truth[:, k], ranked[:, k]) for k in range(CLASSES) if truth[:, k].any()]
    found = {1: 0, 5: 0}
    for row, label in zip(scores, labels, strict=True):
        for k in found:
            found[k] += any(label[i] for i in row.argsort(descending=True)[:k])
    count = int(truth.any(axis=1).sum())
    return {"map": np.mean(precisions), "acc_1": found[1] / count, "acc_5": found[5] / count}


def measure(metric, logits, labels, idx, batch_size=5):
    for batch in zip(logits.split(batch_size), labels.split(batch_size), idx.split(batch_size), strict=True):
        metric.update(*batch)
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("levels", [2, 3, 1000])  # few levels: many samples score the same
def test_average_precision__equals_scikit_learn(levels):
    generator = torch.Generator().manual_seed(levels)
    for _ in range(20):
        scores = torch.randint(levels, (30, 4), generator=generator) / levels
        labels = (torch.rand(30, 4, generator=generator) < 0.4).int()
        expected = [average_precision_score(labels[:, k], scores[:, k]) for k in range(4)]
        assert average_precision(scores, labels).tolist() == pytest.approx(expected, rel=1e-12)


def test_average_precision__of_a_class_that_is_nowhere_is_not_a_number():
    found = average_precision(torch.rand(4, 2), torch.tensor([[1, 0]] * 4))
    assert found[0] == 1
    assert found[1].isnan()


def test_samples__are_measured_each_by_itself(views):
    logits, labels, _ = views
    expected = slow_reference(logits.double().sigmoid(), labels)
    expected |= {"loss": F.binary_cross_entropy_with_logits(logits, labels).item(), "n_evaluated": VIDEOS}
    assert measure(MultiLabelScores(), *views) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("of", ["probabilities", "logits"])
@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_views__are_brought_together_wherever_they_are(views, reduction, of):
    logits, labels, idx = views
    values = logits.double().sigmoid() if of == "probabilities" else logits.double()
    stacks = [values[idx == video] for video in range(VIDEOS)]
    scores = torch.stack([stack.mean(0) if reduction == "mean" else stack.amax(0) for stack in stacks])
    scores = scores if of == "probabilities" else scores.sigmoid()
    labels = torch.stack([labels[idx == video][0] for video in range(VIDEOS)])
    expected = slow_reference(scores, labels)
    expected |= {"loss": F.binary_cross_entropy(scores, labels.double()).item(), "n_evaluated": VIDEOS}
    assert measure(MultiLabelScores(Aggregation(reduction, of)), *views) == pytest.approx(expected, rel=1e-6)


def test_failures__that_count_are_ranked_last(views):
    logits, labels, _ = views
    metric = MultiLabelScores()
    wrong = torch.tensor([[1.0, 0, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]])
    metric.add_failures([SampleFailure(90 + i, "v", "pyav", "torn", 0, label, True) for i, label in enumerate(wrong)])
    found = measure(metric, *views)
    expected = slow_reference(logits.double().sigmoid(), labels, wrong)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert found["n_evaluated"] == VIDEOS
    assert found["loss"] == pytest.approx(measure(MultiLabelScores(), *views)["loss"])


def test_scores__say_when_there_is_nothing_or_too_much(views):
    metric = MultiLabelScores(Aggregation(max_views=2))
    with pytest.warns(UserWarning, match="compute"):
        assert metric.compute() == {"n_evaluated": 0.0}
    with pytest.raises(DataError, match=r"has 3 views, and the time augmentation says num_aug=2"):
        measure(metric, *views)


@pytest.mark.parametrize("split", ["interleaved", "uneven", "one_rank_without_samples"])
@pytest.mark.parametrize("reduction", [None, "mean", "max"])
def test_scores__of_two_processes_are_those_of_one(evaluations, views, reduction, split):
    expected = measure(MultiLabelScores(None if reduction is None else Aggregation(reduction)), *views)
    for results in evaluations:
        assert results["multi_label"][reduction, split] == pytest.approx(expected, rel=1e-6)


def test_top_accuracies__are_over_the_samples_with_a_class():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    labels = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    assert top_accuracies(scores, labels) == {"acc_1": 0.5}


@pytest.fixture
def cater(tmp_path):
    """Eight clips in the layout of CATER: bars that fall have labels 0 and 3, bars that rise 1; the last is torn."""
    for number in range(8):
        path = tmp_path / "videos" / f"CATER_new_{number:06d}.avi"
        write_video(path, moving_bar(number % 2, number, 16, 32, 32))
    path.write_bytes(path.read_bytes()[:100])
    lines = [f"CATER_new_{number:06d}.avi {'1' if number % 2 else '0,3'}\n" for number in range(8)]
    (tmp_path / "lists" / "actions_present").mkdir(parents=True)
    for split, part in {"train": slice(0, 7), "val": slice(4, 8)}.items():
        (tmp_path / "lists" / "actions_present" / f"{split}.txt").write_text("".join(lines[part]))
    return tmp_path


def cater_data(folder, on_error="skip"):
    split = {
        "clip_sampler": {
            "_target_": "eztorch.datasets.clip_samplers.ConstantClipsPerVideoSampler",
            "clip_duration": 0.5,
            "clips_per_video": 2,
        },
        "decoder_args": {"frame_filter": {"subsample_type": "uniform", "num_samples": 2}},
        "transform": lambda sample: {**sample, "input": sample["input"] / 255},
        "global_batch_size": 4,
    }
    val = {**split, "on_error": on_error}
    return CaterDataModule(folder, train=split, val=val, video_path_prefix=str(folder / "videos"))


def make_model(**options):
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool3d((2, 4, 1)), nn.Flatten(), nn.Linear(24, 14))
    keys = {"optimizer": OPTIMIZER, "loss": "bce", "val_time_augmentation": {"name": "avg_group"}, **options}
    return SupervisedModel(network, **keys)


def make_trainer(folder, *callbacks, **options):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    keys = {"accelerator": "cpu", "max_epochs": 2, "num_sanity_val_steps": 0, "default_root_dir": folder}
    return Trainer(**keys, **quiet, **options, use_distributed_sampler=False, callbacks=list(callbacks))


@pytest.mark.parametrize("on_error", ["skip", "count_as_wrong"])
def test_cater__trains_and_is_measured(cater, on_error):
    trainer = make_trainer(cater, FailureMonitor(cater / "failed.csv"))
    with pytest.warns(UserWarning, match="val: 3 of 4 samples were evaluated"):
        trainer.fit(make_model(), datamodule=cater_data(cater, on_error))
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert (found["val/n_evaluated"], found["val/n_expected"]) == (3, 4)
    assert 0 < found["val/map"] <= 1
    assert found["val/acc_1"] * (4 if on_error == "count_as_wrong" else 3) == pytest.approx(
        round(found["val/acc_1"] * (4 if on_error == "count_as_wrong" else 3)), abs=1e-4
    )


def test_loss__is_the_mean_binary_cross_entropy():
    model, labels = make_model(label_smoothing=0.2), torch.tensor([[1.0] * 3 + [0.0] * 11, [0.0] * 14])
    batch = {"input": torch.rand(2, 3, 2, 8, 8), "label": labels, "idx": torch.arange(2)}
    outputs = model.training_step(batch, 0)
    targets = torch.where(labels > 0, 0.9, 0.1)
    expected = F.binary_cross_entropy_with_logits(outputs["logits"], targets)
    torch.testing.assert_close(outputs["loss"].detach(), expected)
    assert set(outputs["scalars"]) == {"train/loss", "train/acc_1", "train/acc_5"}


def test_soft_labels__are_targets_of_the_cross_entropy():
    model = make_model(loss="cross_entropy")
    labels = torch.eye(14)[[3, 5]] * 0.7 + torch.eye(14)[[5, 1]] * 0.3
    batch = {"input": torch.rand(2, 3, 2, 8, 8), "label": labels, "idx": torch.arange(2)}
    outputs = model.training_step(batch, 0)
    expected = -(labels * outputs["logits"].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(outputs["loss"].detach(), expected)
    model.validation_step(batch, 0)
    found = model.val_metric.compute()
    hits = outputs["logits"].argmax(1) == torch.tensor([3, 5])
    assert found["acc_1"] == hits.float().mean()


@pytest.mark.parametrize(
    ("loss", "labels", "error", "message"),
    [
        ("bce", torch.tensor([1, 2]), ConfigError, "model.loss=bce takes a weight for every class"),
        ("bce", torch.zeros(2, 5), ConfigError, "The labels have 5 classes, and the model gives 14 logits"),
        ("bce", torch.full((2, 14), 2.0), DataError, "Sample 0 has labels .*not all from 0 to 1"),
        ("cross_entropy", torch.ones(2, 14), ConfigError, "The labels of a sample sum to 14.*write model.loss=bce"),
        ("cross_entropy", torch.tensor([1, 14]), DataError, "Sample 1 has label 14; the model gives 14 logits"),
    ],
)
def test_labels__of_another_kind_are_an_error(loss, labels, error, message):
    batch = {"input": torch.rand(2, 3, 2, 8, 8), "label": labels, "idx": torch.arange(2)}
    with pytest.raises(error, match=message):
        make_model(loss=loss).training_step(batch, 0)


def test_loss__that_is_not_known_is_an_error():
    with pytest.raises(ConfigError, match=r"model.loss='bec' is not known.*Did you mean 'bce'"):
        make_model(loss="bec")


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (lambda: KNNEvaluator(input_name="logits"), "KNNEvaluator: neighbours vote for one class"),
        (
            lambda: OnlineEvaluator(OPTIMIZER, nn.Linear(14, 14), input_name="logits"),
            "OnlineEvaluator learns one class a sample",
        ),
    ],
)
def test_callbacks__that_need_one_class_say_so(cater, callback, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(cater, callback()).fit(make_model(), datamodule=cater_data(cater))
