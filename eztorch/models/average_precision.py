"""Average precision. N samples, K classes."""

from __future__ import annotations

import torch
from torch import Tensor


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the average precision of every class: the sum of P(n) * (R(n) - R(n - 1)) over the thresholds n.

    P and R are precision and recall of the samples that score at least the threshold. Samples of one score share a
    threshold, so their order does not matter, and nothing is interpolated.

    Args:
        scores: The higher, the more certain, shape (N, K).
        labels: Which classes are there, shape (N, K).

    Returns:
        Shape (K,), not a number for a class that no sample has.

    >>> average_precision(torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[1], [0], [1]]))
    tensor([0.8333], dtype=torch.float64)
    """
    positives = labels >= 0.5
    order = scores.argsort(dim=0, descending=True)
    ranked, found = scores.gather(0, order), positives.gather(0, order).double().cumsum(0)
    is_threshold = torch.ones_like(positives)
    is_threshold[:-1] = ranked[:-1] != ranked[1:]
    precision = found / torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)[:, None]
    # What was found between a threshold and the one before it.
    before = torch.where(is_threshold, found, 0).cummax(0).values.roll(1, 0)
    before[:1] = 0
    return torch.where(is_threshold, precision * (found - before), 0).sum(0) / positives.sum(0)
