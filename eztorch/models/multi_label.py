"""Precisions of a classifier of samples that have several labels each, exact over batches and processes.

N samples, B of them in a batch, K classes. A sample has a weight from 0 to 1 for every class; the class is there where
that is at least a half.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.average_precision import average_precision
from eztorch.models.evaluation_metric import NO_IDX, NO_ROWS, EvaluationMetric
from eztorch.models.views import Aggregation, ViewTotals

# Below every probability: a failure that counts as a wrong answer is ranked behind all samples that were evaluated.
_LAST = -1.0


def top_hits(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Say which samples have one of their classes among the k highest scores, for k = 1 and, of more than 5, k = 5.

    Args:
        scores: Shape (B, K).
        labels: Shape (B, K).

    Returns:
        `acc_1`, and `acc_5` when K > 5: booleans, shape (B,).

    >>> top_hits(torch.tensor([[0.1, 0.9]]), torch.tensor([[1.0, 0.0]]))
    {'acc_1': tensor([False])}
    """
    depths = [1, 5] if scores.shape[1] > 5 else [1]
    found = (labels >= 0.5).gather(1, scores.topk(depths[-1], dim=1).indices)
    return {f"acc_{k}": found[:, :k].any(dim=1) for k in depths}


def top_accuracies(scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the mean of `top_hits` over the samples that have a class; not a number when there is none."""
    count = (labels >= 0.5).any(dim=1).sum()
    return {name: hit.sum() / count for name, hit in top_hits(scores, labels).items()}


class MultiLabelScores(EvaluationMetric):
    """Loss and precisions of samples, or of videos whose views are first brought together.

    `compute` returns `loss` (mean binary cross-entropy), `map` (the mean of `average_precision` over the classes that a
    sample has), `acc_1` and `acc_5` (see `top_accuracies`), and `n_evaluated`, the number of different `idx`. Without a
    sample it returns `n_evaluated` alone. The values are those of all processes, the same on each.

    Args:
        aggregation: How the views of a video are brought together; None measures every sample by itself.
    """

    idx: list[Tensor]
    logits: list[Tensor]
    labels: list[Tensor]
    wrong_labels: list[Tensor]

    multi_label = True

    def __init__(self, aggregation: Aggregation | None = None) -> None:
        super().__init__()
        self.aggregation = aggregation
        for name in ("idx", "logits", "labels", "wrong_labels"):
            self.add_state(name, [], dist_reduce_fx=None)

    def update(self, logits: Tensor, labels: Tensor, idx: Tensor) -> None:
        """Take the samples of a batch.

        Args:
            logits: Shape (B, K).
            labels: Shape (B, K).
            idx: Index of the video or image of each sample, shape (B,).
        """
        self.idx.append(idx)
        self.logits.append(logits.detach().float())
        self.labels.append(labels.float())

    def add_failures(self, failures: Iterable[Any]) -> None:
        """Count failures as wrong answers, ranked last for every class."""
        failures = list(failures)
        super().add_failures(failures)
        self.wrong_labels += [failure.label.float().to(self.device)[None] for failure in failures]

    def compute(self) -> dict[str, Tensor]:
        """Return loss, precisions and the number of videos or images.

        Raises:
            DataError: A video has more views than `Aggregation.max_views`.
        """
        idx = self.of_all_processes(self.idx, NO_IDX)
        logits, labels, wrong = (
            self.of_all_processes(rows, NO_ROWS) for rows in (self.logits, self.labels, self.wrong_labels)
        )
        count = {"n_evaluated": torch.tensor(float(len(idx.unique())))}
        if not len(idx):
            return count
        scores, loss = logits.double().sigmoid(), F.binary_cross_entropy_with_logits(logits.double(), labels.double())
        if self.aggregation is not None:
            views = ViewTotals(self.aggregation, multi_label=True)
            views.add(idx, labels, logits)
            _, labels, _, scores = views.videos()
            loss = F.binary_cross_entropy(scores, labels.double())
        hits = {name: hit.sum() for name, hit in top_hits(scores, labels).items()}
        wrong = wrong if len(wrong) else labels[:0]
        labels = torch.cat([labels, wrong])
        scores = torch.cat([scores, torch.full_like(wrong, _LAST, dtype=torch.float64)])
        with_class = (labels >= 0.5).any(dim=1).sum()
        means = {
            "loss": loss,
            "map": average_precision(scores, labels).nanmean(),
            **{name: hit / with_class for name, hit in hits.items()},
        }
        return {name: value.float() for name, value in means.items()} | count
