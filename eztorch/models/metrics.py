"""Accuracies and losses of a classifier, exact for any number of classes, batches and processes.

B samples of a batch, K classes, V videos. A label of -1 means that there is none: such samples are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.evaluation_metric import NO_IDX, NO_ROWS, EvaluationMetric
from eztorch.models.multi_label import MultiLabelScores
from eztorch.models.views import Aggregation, ViewTotals, read_aggregation
from eztorch.utils.distributed import all_gather_rows


def hits(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Say for which samples the label is among the k highest scores, for k = 1 and, with more than 5 classes, k = 5.

    Args:
        scores: Logits or probabilities, shape (B, K).
        labels: Classes, shape (B,).

    Returns:
        `acc_1`, and `acc_5` when K > 5: booleans, shape (B,); False without a label.

    >>> hits(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    {'acc_1': tensor([ True, False])}
    """
    depths = [1, 5] if scores.shape[1] > 5 else [1]
    found = scores.topk(depths[-1], dim=1).indices == labels[:, None]
    return {f"acc_{k}": found[:, :k].any(dim=1) for k in depths}


def accuracies(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the mean of `hits` over the samples with a label; not a number when there is none.

    Args:
        scores: Logits or probabilities, shape (B, K).
        labels: Classes, shape (B,).

    Returns:
        Shares in [0, 1], each of shape ().
    """
    count = (labels >= 0).sum()
    return {name: hit.sum() / count for name, hit in hits(scores, labels).items()}


def evaluation_metric(
    time_augmentation: Mapping[str, Any] | None, key: str, *, multi_label: bool = False
) -> SampleMean | ViewAverage | MultiLabelScores:
    """Make the metric of a time augmentation.

    Args:
        time_augmentation: None measures every sample by itself; otherwise how the views of a video are brought
            together, see `eztorch.models.views.read_aggregation`.
        key: Configuration key it came from, for the messages.
        multi_label: Whether a sample has a weight for every class instead of one class.

    Raises:
        ConfigError: The name, a value or a key is not known.
    """
    if time_augmentation is None:
        return MultiLabelScores() if multi_label else SampleMean()
    aggregation = read_aggregation(time_augmentation, key)
    return MultiLabelScores(aggregation) if multi_label else ViewAverage(aggregation)


class SampleMean(EvaluationMetric):
    """Loss and accuracies of samples, each by itself.

    `compute` returns `loss` (mean cross-entropy), `acc_1` and `acc_5` (see `hits`) over all samples with a label, and
    `n_evaluated`, the number of different `idx` among them. Without any, it returns `n_evaluated` alone. The values are
    those of all processes, the same on each. A failure that counts as a wrong answer is one sample.
    """

    idx: list[Tensor]
    rows: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("idx", [], dist_reduce_fx=None)
        self.add_state("rows", [], dist_reduce_fx=None)

    def update(self, logits: Tensor, labels: Tensor, idx: Tensor) -> None:
        """Measure the samples of a batch.

        Args:
            logits: Shape (B, K).
            labels: Shape (B,).
            idx: Index of the video or image of each sample, shape (B,).
        """
        loss = F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="none")
        self.idx.append(torch.where(labels >= 0, idx, -1))
        self.rows.append(torch.stack([loss, *hits(logits, labels).values()], dim=1))

    def compute(self) -> dict[str, Tensor]:
        """Return loss, accuracies and the number of samples."""
        idx = self.of_all_processes(self.idx, NO_IDX)
        rows = self.of_all_processes(self.rows, NO_ROWS)
        return _means(idx, rows[idx >= 0].double(), self.wrong_of_all_processes())


class ViewAverage(EvaluationMetric):
    """Loss and accuracies of videos, whose views are first brought together.

    Wherever the views of a video are, in one batch, in several, or on several processes, their probabilities, that is
    softmax(logits), are averaged, or their maximum is taken and scaled to a sum of 1; or the same is done to logits,
    whose softmax is then taken. A video counts once. `loss` is the negative log of the probability of the label;
    the rest of what `compute` returns is as in `SampleMean`.

    `clip_acc_1` and `clip_acc_5` are beside them, the accuracies of the views by themselves, and `n_clips`, the number
    of these. A failure that counts as a wrong answer counts there for as many views as a video has on average.

    Args:
        aggregation: How views are brought together.
    """

    clips: Tensor

    aggregation: Aggregation

    def __init__(self, aggregation: Aggregation | None = None) -> None:
        super().__init__()
        self.aggregation = aggregation or Aggregation()
        self.views = ViewTotals(self.aggregation)
        self.add_state("clips", torch.zeros(3, dtype=torch.long), dist_reduce_fx=None)  # number, hits of 1, hits of 5

    def update(self, logits: Tensor, labels: Tensor, idx: Tensor) -> None:
        """Take the views of a batch.

        Args:
            logits: Shape (B, K).
            labels: Shape (B,).
            idx: Index of the video of each view, shape (B,).
        """
        self.views.add(idx, labels, logits)
        counts = [(labels >= 0).sum(), *(hit.sum() for hit in hits(logits, labels).values())]
        self.clips[: len(counts)] += torch.stack(counts)

    def reset(self) -> None:
        """Forget all views."""
        super().reset()
        self.views = ViewTotals(self.aggregation)

    def compute(self) -> dict[str, Tensor]:
        """Return loss, accuracies and the number of videos.

        Raises:
            DataError: A video has more views than `Aggregation.max_views`.
        """
        videos, wrong = self.views.videos_of_all_processes(self.device), self.wrong_of_all_processes()
        clips = all_gather_rows(self.clips[None], self.device).sum(dim=0)
        labelled = videos.labels >= 0
        idx, labels, scores = videos.idx[labelled], videos.labels[labelled], videos.scores[labelled]
        if not len(idx):
            return _means(idx, scores, wrong)
        likelihood = scores.gather(1, labels[:, None])[:, 0]
        loss = -likelihood.clamp_min(torch.finfo(torch.float64).tiny).log()
        found = hits(scores, labels)
        views = clips[0].double() * (len(idx) + len(wrong)) / len(idx)  # those of the failures included
        return {
            **_means(idx, torch.stack([loss, *found.values()], dim=1), wrong),
            **{f"clip_{name}": (count / views).float() for name, count in zip(found, clips[1:], strict=False)},
            "n_clips": clips[0].float(),
        }


def _means(idx: Tensor, rows: Tensor, wrong: Tensor) -> dict[str, Tensor]:
    """Return the means of loss and hits, and how many different videos or images there are.

    Args:
        idx: Of every row, -1 for one that does not count, shape (N,).
        rows: Loss and hits of those that do, shape (M, 2 or 3).
        wrong: Wrong answers without a row, which have no loss, shape (W,).
    """
    names = ("loss", "acc_1", "acc_5")[: rows.shape[1]] if len(rows) else ()
    totals = dict(zip(names, rows.sum(dim=0), strict=False))
    if not totals and len(wrong):
        totals = {"acc_1": torch.tensor(0.0, dtype=torch.float64)}
    means = {
        name: (total / (len(rows) + (0 if name == "loss" else len(wrong)))).float() for name, total in totals.items()
    }
    return {**means, "n_evaluated": torch.tensor(float(len(idx[idx >= 0].unique())))}
