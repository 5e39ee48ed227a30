"""Measures of samples with several labels each, as functions of all scores and labels.

V videos or images, K classes, W further ones without an answer. A sample has a weight from 0 to 1 for every class; the
class is there where that is at least a half, and it is told where the probability is at least the threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.evaluation.metrics.one_label import check_depth
from eztorch.models.average_precision import average_precision
from eztorch.utils.errors import ConfigError

AVERAGES = ("micro", "macro", "samples")


def any_top_k_accuracy(scores: Tensor, labels: Tensor, k: int = 1, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the share of the samples with a class that have one of theirs among the k highest scores.

    Args:
        scores: Shape (V, K).
        labels: Shape (V, K).
        k: How many classes count.
        unanswered: Labels of samples without scores that count as wrong, shape (W, K).

    Raises:
        ConfigError: There are no k classes.
    """
    check_depth(k, scores.shape[1])
    found = (labels >= 0.5).gather(1, scores.topk(k, dim=1).indices).any(dim=1)
    every = labels if unanswered is None else torch.cat([labels, unanswered])
    return found.sum().double() / (every >= 0.5).any(dim=1).sum()


def mean_average_precision(scores: Tensor, labels: Tensor, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the mean of `eztorch.models.multi_label.average_precision` over the classes that a sample has.

    Args:
        scores: Shape (V, K).
        labels: Shape (V, K).
        unanswered: Labels of samples without scores, shape (W, K); they are ranked last.
    """
    return average_precision(*with_unanswered(scores, labels, unanswered)).nanmean()


def f1_score(
    scores: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.5,
    average: str = "micro",
    unanswered: Tensor | None = None,
) -> Tensor:
    """Return F1, 2 TP / (2 TP + FP + FN).

    Args:
        scores: Probabilities, shape (V, K).
        labels: Shape (V, K).
        threshold: Least probability of a predicted class.
        average: `micro` counts all samples and classes together; `macro` is the mean over the classes, and `samples`
            over the samples, that are there or told: of the others nothing can be said.
        unanswered: Labels of samples without scores, shape (W, K); none of them is told.

    Raises:
        ConfigError: The average is not known.

    >>> f1_score(torch.tensor([[0.9, 0.6], [0.2, 0.1]]), torch.tensor([[1, 0], [0, 0]])).item()
    0.6666666666666666
    """
    right, wrong = _agreement(*with_unanswered(scores, labels, unanswered), threshold, average)
    return (2 * right / (2 * right + wrong)).nanmean()


def jaccard(
    scores: Tensor,
    labels: Tensor,
    *,
    threshold: float = 0.5,
    average: str = "samples",
    unanswered: Tensor | None = None,
) -> Tensor:
    """Return the intersection over the union of what is told and what is there, TP / (TP + FP + FN).

    Arguments are as in `f1_score`.

    >>> jaccard(torch.tensor([[0.9, 0.6], [0.2, 0.7]]), torch.tensor([[1, 0], [0, 1]])).item()
    0.75
    """
    right, wrong = _agreement(*with_unanswered(scores, labels, unanswered), threshold, average)
    return (right / (right + wrong)).nanmean()


def top_set_accuracy(scores: Tensor, labels: Tensor, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the share of the samples whose n classes are exactly their n highest scores, whatever n is.

    A sample is right where each of its classes scores higher than each of the others; equal scores are wrong. Samples
    without a class are left out.

    Args:
        scores: Shape (V, K).
        labels: Shape (V, K).
        unanswered: Labels of samples without scores that count as wrong, shape (W, K).

    >>> top_set_accuracy(torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.1, 0.7]]), torch.tensor([[1, 1, 0], [1, 0, 0]])).item()
    0.5
    """
    there = labels >= 0.5
    lowest = scores.masked_fill(~there, torch.inf).amin(dim=1)
    highest = scores.masked_fill(there, -torch.inf).amax(dim=1)
    right = (lowest > highest) & there.any(dim=1)
    every = there if unanswered is None else torch.cat([there, unanswered >= 0.5])
    return right.sum().double() / every.any(dim=1).sum()


def with_unanswered(scores: Tensor, labels: Tensor, unanswered: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return scores and labels, with a row below every score for each sample without an answer."""
    if unanswered is None or not len(unanswered):
        return scores, labels
    none = torch.full_like(unanswered, -torch.inf, dtype=scores.dtype)
    return torch.cat([scores, none]), torch.cat([labels, unanswered.to(labels.dtype)])


def _agreement(scores: Tensor, labels: Tensor, threshold: float, average: str) -> tuple[Tensor, Tensor]:
    """Count what is told right, and what is told wrong or missed: in all, or of each class or sample."""
    if average not in AVERAGES:
        raise ConfigError(f"average={average!r}; expected one of {', '.join(AVERAGES)}.")
    told, there = scores >= threshold, labels >= 0.5
    right, wrong = (told & there).double(), (told ^ there).double()
    if average == "micro":
        return right.sum(), wrong.sum()
    dim = 0 if average == "macro" else 1
    return right.sum(dim), wrong.sum(dim)
