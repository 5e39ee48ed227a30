"""Accuracies of samples with one label each, as functions of all scores and labels.

V videos or images, K classes, W further ones without an answer. A label of -1 means that there is none: such samples
are left out. What is over no sample at all is not a number.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def top_hits(scores: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    """Say for which samples the label is among the k highest scores; of equal scores the first ones are.

    Args:
        scores: The higher, the more certain, shape (V, K).
        labels: Classes, shape (V,).
        k: How many classes count, 1 to K.

    Returns:
        Booleans, shape (V,); False without a label.

    Raises:
        ConfigError: There are no k classes.

    >>> top_hits(torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), torch.tensor([2, 1]), k=2)
    tensor([True, True])
    """
    check_depth(k, scores.shape[1])
    own = scores.gather(1, labels.clamp_min(0)[:, None])
    is_before = torch.arange(scores.shape[1], device=scores.device) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & is_before)).sum(dim=1)
    return (rank < k) & (labels >= 0)


def top_k_accuracy(scores: Tensor, labels: Tensor, k: int = 1, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the share of the samples whose label is among the k highest scores; see `top_hits`.

    Args:
        scores: Shape (V, K).
        labels: Shape (V,).
        k: How many classes count.
        unanswered: Labels of samples without scores that count as wrong, shape (W,).
    """
    count = (labels >= 0).sum() + _number(unanswered)
    return top_hits(scores, labels, k).sum().double() / count


def class_accuracies(scores: Tensor, labels: Tensor, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the share of the samples of each class whose highest score is its own (recall), shape (K,).

    Args:
        scores: Shape (V, K).
        labels: Shape (V,).
        unanswered: Labels of samples without scores that count as wrong, shape (W,).

    >>> class_accuracies(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([0, 1, 1])).tolist()
    [1.0, 0.5]
    """
    found = torch.bincount(labels[top_hits(scores, labels)], minlength=scores.shape[1])
    return found.double() / class_counts(labels, scores.shape[1], unanswered=unanswered)


def class_counts(labels: Tensor, num_classes: int, *, unanswered: Tensor | None = None) -> Tensor:
    """Return how many samples each class has, those without an answer included, shape (K,)."""
    every = labels if unanswered is None else torch.cat([labels, unanswered])
    return torch.bincount(every[every >= 0], minlength=num_classes)


def mean_class_accuracy(scores: Tensor, labels: Tensor, *, unanswered: Tensor | None = None) -> Tensor:
    """Return the mean of `class_accuracies` over the classes that have a sample."""
    return class_accuracies(scores, labels, unanswered=unanswered).nanmean()


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """Count the samples of each class (row) by the class with the highest score (column), int64, shape (K, K).

    >>> confusion_matrix(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([0, 1, 1])).tolist()
    [[1, 0], [1, 1]]
    """
    num_classes, has_label = scores.shape[1], labels >= 0
    cells = labels[has_label] * num_classes + scores[has_label].argmax(dim=1)
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def group_scores(scores: Tensor, groups: Tensor) -> Tensor:
    """Sum the probabilities of the classes of each group.

    Args:
        scores: Probabilities, shape (V, K).
        groups: Group of each class, 0 to G - 1, shape (K,).

    Returns:
        Probabilities of the groups, shape (V, G).
    """
    return scores.new_zeros(len(scores), int(groups.max()) + 1).index_add_(1, groups, scores)


def group_accuracy(
    scores: Tensor, labels: Tensor, groups: Tensor, *, by: str = "sum", unanswered: Tensor | None = None
) -> Tensor:
    """Return the share of the samples whose group is told right.

    Args:
        scores: Probabilities, shape (V, K).
        labels: Classes, shape (V,).
        groups: Group of each class, 0 to G - 1, shape (K,).
        by: `sum`: the group told is the one with the largest sum of probabilities; `argmax`: that of the class with the
            highest score. The two differ where many classes of one group share what another class has alone.
        unanswered: Labels of samples without scores that count as wrong, shape (W,).

    >>> scores, labels, groups = torch.tensor([[0.4, 0.3, 0.3]]), torch.tensor([1]), torch.tensor([0, 1, 1])
    >>> [group_accuracy(scores, labels, groups, by=by).item() for by in ("sum", "argmax")]
    [1.0, 0.0]
    """
    told = group_scores(scores, groups).argmax(dim=1) if by == "sum" else groups[scores.argmax(dim=1)]
    hit = (told == groups[labels.clamp_min(0)]) & (labels >= 0)
    return hit.sum().double() / ((labels >= 0).sum() + _number(unanswered))


def check_depth(k: int, num_classes: int) -> None:
    """Check that there are k classes for the k highest scores.

    Raises:
        ConfigError: There are not.
    """
    if not 1 <= k <= num_classes:
        raise ConfigError(f"acc_{k}: there are {num_classes} classes; expected acc_1 to acc_{num_classes}.")


def _number(unanswered: Tensor | None) -> int:
    return 0 if unanswered is None else int((unanswered >= 0).sum())
