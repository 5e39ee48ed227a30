"""Losses of classes: cross-entropy and focal loss of one class a sample, and of several.

B samples, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


def class_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Compute the cross-entropy of one class a sample, with `gamma` the focal loss (https://arxiv.org/abs/1708.02002).

    With p the softmax of the logits, t the target and w the weights of the classes, of a sample

        loss = - sum over k of w_k t_k (1 - p_k)^gamma log p_k                            (eq. 4 where t is one class)

    A label is a class, or weights of the classes (soft labels); t is that, a share `label_smoothing` of it spread
    evenly over all classes.

    Args:
        logits: Shape (B, K).
        labels: Classes, -1 for none, shape (B,), or weights of the classes, shape (B, K). Weights of a sample that sum
            to less than 1 are of a label that is partly unknown; it counts so much less.
        label_smoothing: Share of the target that is spread.
        class_weights: Shape (K,), None for 1.
        gamma: How much less a class counts that is found already.

    Returns:
        Mean over the samples with a label, shape (), in float32; 0 without any. A sample counts by the weight of its
        class and not by the others of its batch, so that the mean is that of any number of processes.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    >>> class_loss(logits, torch.tensor([0, 1])), class_loss(logits, torch.tensor([0, 1]), gamma=2.0)
    (tensor(0.4100), tensor(0.0875))
    """
    logits = logits.float()
    if labels.ndim == 1 and not gamma:
        total = F.cross_entropy(
            logits, labels, class_weights, ignore_index=-1, reduction="sum", label_smoothing=label_smoothing
        )
        return total / (labels >= 0).sum().clamp(min=1)
    targets = as_weights(labels, logits.shape[1])
    known = targets.sum(dim=1, keepdim=True)
    smooth = targets * (1 - label_smoothing) + known * (label_smoothing / logits.shape[1])
    log_p = logits.log_softmax(dim=1)
    terms = smooth * log_p
    if gamma:
        terms = terms * _rest(log_p).pow(gamma)
    if class_weights is not None:
        terms = terms * class_weights
    return -terms.sum() / known.sum().clamp(min=1)


def multi_label_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: float | None = None,
) -> Tensor:
    """Compute the binary cross-entropy of every class, with `gamma` the binary focal loss (arXiv 1708.02002, eq. 5).

    With p = sigmoid(logit) and t the weight of a class

        loss = - alpha t (1 - p)^gamma log p - (1 - alpha) (1 - t) p^gamma log(1 - p)

    Args:
        logits: Shape (B, K).
        labels: Weights of the classes from 0 to 1, shape (B, K).
        label_smoothing: Share of the target that is spread over yes and no.
        gamma: How much less a class counts that is told already.
        alpha: Weight of the classes that are there, against 1 - alpha of those that are not; None for 1 of both.

    Returns:
        Mean over samples and classes, shape (), in float32.

    >>> multi_label_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1, 0]]), gamma=2.0, alpha=0.25)
    tensor(0.6404)
    """
    targets = labels.float() * (1 - label_smoothing) + label_smoothing / 2
    logits = logits.float()
    if not gamma and alpha is None:
        return F.binary_cross_entropy_with_logits(logits, targets)
    log_p, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    there, absent = -targets * log_p, -(1 - targets) * log_rest
    if gamma:
        there, absent = there * (gamma * log_rest).exp(), absent * (gamma * log_p).exp()
    if alpha is not None:
        there, absent = alpha * there, (1 - alpha) * absent
    return (there + absent).mean()


def as_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return weights of the classes, shape (B, K), float32, of labels; a sample without one has none.

    >>> as_weights(torch.tensor([1, -1]), 3)
    tensor([[0., 1., 0.],
            [0., 0., 0.]])
    """
    if labels.ndim == 2:
        return labels.float()
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return weights by which every class counts the same: N / (K n_k) of a class with n_k of the N samples.

    K are the classes that have a sample, so that the mean weight of a sample is 1. A class without one has weight 0: no
    target is of it.

    Args:
        labels: Classes of the training samples, -1 for none, shape (N,).
        num_classes: How many there are.

    Raises:
        ConfigError: No sample has a label.

    >>> balanced_weights(torch.tensor([0, 0, 0, 1, -1]), 3)
    tensor([0.6667, 2.0000, 0.0000])
    """
    counts = labels[labels >= 0].bincount(minlength=num_classes)
    if not counts.any():
        raise ConfigError("Balanced weights are those of the training labels, and no training sample has one.")
    present = counts > 0
    weights = counts.sum() / (present.sum() * counts.clamp(min=1))
    return torch.where(present, weights, 0.0).float()


def _rest(log_p: Tensor) -> Tensor:
    """Return 1 - p, whose powers below 1 have no infinite gradient where p is 1."""
    return (1 - log_p.exp()).clamp(min=torch.finfo(log_p.dtype).eps)
