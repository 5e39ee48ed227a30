"""Whether probabilities are what they say, as functions of all probabilities and labels.

V videos or images, K classes, M bins. A label of -1 means that there is none: such samples are left out. Samples
without an answer have no probabilities: they are in none of these.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.values import as_count


class ReliabilityBins(NamedTuple):
    """Samples by their confidence, the highest probability: what a reliability diagram shows.

    Attributes:
        edges: Of the bins, shape (M + 1,). Bin m has the confidences in (edges[m], edges[m + 1]].
        counts: Number of samples in each bin, shape (M,).
        confidence: Their mean confidence, not a number in an empty bin, shape (M,).
        accuracy: The share of them whose highest probability is that of the label, shape (M,).
    """

    edges: Tensor
    counts: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability_bins(scores: Tensor, labels: Tensor, *, bins: int = 15) -> ReliabilityBins:
    """Sort the samples into bins of equal width by their confidence (Guo et al., arXiv 1706.04599, section 2).

    Args:
        scores: Probabilities, shape (V, K).
        labels: Classes, shape (V,).
        bins: Number of bins, M.

    Raises:
        ConfigError: `bins` is no count.

    >>> found = reliability_bins(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), torch.tensor([0, 1, 1]), bins=2)
    >>> found.counts.tolist(), [round(value, 4) for value in found.accuracy.tolist()]
    ([0, 3], [nan, 0.6667])
    """
    as_count(bins, "bins")
    scores, labels = scores[labels >= 0].double(), labels[labels >= 0]
    confidence, told = scores.max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=scores.device)
    place = torch.bucketize(confidence, edges[1:-1])  # a confidence on an edge belongs to the bin below
    counts = torch.bincount(place, minlength=bins)
    sums = [torch.zeros_like(edges[1:]).index_add_(0, place, one) for one in (confidence, (told == labels).double())]
    return ReliabilityBins(edges, counts, sums[0] / counts, sums[1] / counts)


def expected_calibration_error(bins: ReliabilityBins) -> Tensor:
    """Return the mean over the samples of |accuracy - confidence| of their bin (arXiv 1706.04599, equation 3)."""
    gaps = (bins.accuracy - bins.confidence).abs() * bins.counts
    return gaps.nansum() / bins.counts.sum()


def maximum_calibration_error(bins: ReliabilityBins) -> Tensor:
    """Return the largest |accuracy - confidence| of a bin that has a sample (arXiv 1706.04599, equation 5)."""
    gaps = (bins.accuracy - bins.confidence).abs()[bins.counts > 0]
    return gaps.max() if len(gaps) else torch.tensor(torch.nan, dtype=torch.float64)


def brier_score(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the samples of sum_k (p_k - y_k)^2, from 0 to 2 (Brier, 1950, equation 2).

    Args:
        scores: Probabilities, shape (V, K).
        labels: Classes, shape (V,).

    >>> brier_score(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0])).item()
    0.25
    """
    scores, labels = scores[labels >= 0].double(), labels[labels >= 0]
    return (scores - F.one_hot(labels, scores.shape[1])).square().sum(dim=1).mean()


def negative_log_likelihood(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p of the label. A p below the smallest normal float32, 1.2e-38, counts as that.

    Args:
        scores: Probabilities, shape (V, K).
        labels: Classes, shape (V,).
    """
    scores, labels = scores[labels >= 0].double(), labels[labels >= 0]
    likelihood = scores.gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float32).tiny)
    return -likelihood.log().mean()
