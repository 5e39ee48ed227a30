"""Accuracies and losses of a classifier, exact for any number of classes, batches and processes.

B samples of a batch, K classes, V videos. A label of -1 means that there is none: such samples are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.evaluation_metric import EvaluationMetric, check_views, everywhere
from eztorch.models.multi_label import MultiLabelScores
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

# Samples that wait on the device before they are added up on the host: what bounds the memory, and how often the host
# waits for the device.
_MAX_PENDING = 4096
_REDUCTIONS: Mapping[str, str] = {"avg_group": "mean", "same_avg": "mean", "same_max": "max"}


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
        time_augmentation: None measures every sample by itself. `{name: avg_group}` or `{name: same_avg}` averages the
            probabilities of the views of each video, `{name: same_max}` takes their maximum; `num_aug`, optional, says
            how many views a video has at most.
        key: Configuration key it came from, for the messages.
        multi_label: Whether a sample has a weight for every class instead of one class.

    Raises:
        ConfigError: The name or a key is not known.
    """
    if time_augmentation is None:
        return MultiLabelScores() if multi_label else SampleMean()
    unknown = set(time_augmentation) - {"name", "num_aug"}
    if unknown or "name" not in time_augmentation:
        raise ConfigError(f"{key}={dict(time_augmentation)} must have a name, may have num_aug, and nothing else.")
    kind = MultiLabelScores if multi_label else ViewAverage
    reduction = choose(_REDUCTIONS, time_augmentation["name"], f"{key}.name")
    return kind(reduction=reduction, max_views=time_augmentation.get("num_aug"))


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
        idx = everywhere(torch.cat(self.idx) if self.idx else torch.empty(0, dtype=torch.long), self.device)
        rows = everywhere(torch.cat(self.rows) if self.rows else torch.empty(0, 0), self.device)
        return _means(idx, rows[idx >= 0].double(), self.wrong_of_all_processes())


class ViewAverage(EvaluationMetric):
    """Loss and accuracies of videos, whose views are first brought together.

    The probabilities of the views of a video, softmax(logits), are averaged (or their maximum is taken and scaled to a
    sum of 1), wherever its views are: in one batch, in several, or on several processes. A video counts once. `loss` is
    the negative log of the probability of the label; the rest of what `compute` returns is as in `SampleMean`.

    The sums of each video are kept, on the host and in float64, not its views.

    Args:
        reduction: `mean` or `max`.
        max_views: How many views a video has at most; None leaves it open.
    """

    pending_idx: list[Tensor]
    pending_labels: list[Tensor]
    pending_logits: list[Tensor]
    videos: Tensor
    labels: Tensor
    counts: Tensor
    totals: Tensor

    def __init__(self, *, reduction: str = "mean", max_views: int | None = None) -> None:
        super().__init__()
        self.reduction = choose({"mean": "mean", "max": "max"}, reduction, "reduction")
        self.max_views = max_views
        for name in ("pending_idx", "pending_labels", "pending_logits"):
            self.add_state(name, [], dist_reduce_fx=None)
        for name in ("videos", "labels", "counts"):
            self.add_state(name, torch.empty(0, dtype=torch.long), dist_reduce_fx=None)
        self.add_state("totals", torch.empty(0, 0, dtype=torch.float64), dist_reduce_fx=None)

    def update(self, logits: Tensor, labels: Tensor, idx: Tensor) -> None:
        """Take the views of a batch.

        Args:
            logits: Shape (B, K).
            labels: Shape (B,).
            idx: Index of the video of each view, shape (B,).
        """
        self.pending_idx.append(idx)
        self.pending_labels.append(labels)
        self.pending_logits.append(logits.detach())
        if sum(map(len, self.pending_idx)) >= max(_MAX_PENDING, len(self.videos)):
            self._add_up_pending()

    def compute(self) -> dict[str, Tensor]:
        """Return loss, accuracies and the number of videos.

        Raises:
            DataError: A video has more views than `max_views`.
        """
        self._add_up_pending()
        videos, labels, counts, totals = self._add_up(
            *(everywhere(part, self.device) for part in (self.videos, self.labels, self.counts, self.totals))
        )
        check_views(videos, counts, self.max_views)
        labelled, wrong = labels >= 0, self.wrong_of_all_processes()
        videos, labels, totals = videos[labelled], labels[labelled], totals[labelled]
        if not len(videos):
            return _means(videos, totals, wrong)
        probabilities = totals / totals.sum(dim=1, keepdim=True)
        likelihood = probabilities.gather(1, labels[:, None])[:, 0]
        loss = -likelihood.clamp_min(torch.finfo(torch.float64).tiny).log()
        return _means(videos, torch.stack([loss, *hits(probabilities, labels).values()], dim=1), wrong)

    def _add_up_pending(self) -> None:
        waiting = (self.pending_idx, self.pending_labels, self.pending_logits)
        if not self.pending_idx:
            return
        idx, labels, logits = (torch.cat(parts).cpu() for parts in waiting)
        for parts in waiting:
            parts.clear()
        totals = logits.double().softmax(dim=1)
        if not len(self.videos):
            self.totals = totals.new_empty(0, totals.shape[1])
        self.videos, self.labels, self.counts, self.totals = self._add_up(
            torch.cat([self.videos.cpu(), idx]),
            torch.cat([self.labels.cpu(), labels]),
            torch.cat([self.counts.cpu(), torch.ones_like(idx)]),
            torch.cat([self.totals.cpu(), totals]),
        )

    def _add_up(
        self, videos: Tensor, labels: Tensor, counts: Tensor, totals: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bring together the rows of the same video.

        Args:
            videos: Index of the video of each row, shape (N,).
            labels: Its label, shape (N,).
            counts: Number of views in each row, shape (N,).
            totals: Sum or maximum of their probabilities, shape (N, K).

        Returns:
            The same with one row a video, sorted by video.
        """
        unique, row = torch.unique(videos, return_inverse=True)
        return (
            unique,
            labels.new_empty(len(unique)).index_copy_(0, row, labels),
            counts.new_zeros(len(unique)).index_add_(0, row, counts),
            totals.new_zeros(len(unique), totals.shape[1]).scatter_reduce_(
                0, row[:, None].expand_as(totals), totals, "sum" if self.reduction == "mean" else "amax"
            ),
        )


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
