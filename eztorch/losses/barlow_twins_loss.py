"""Barlow Twins: self-supervised learning by redundancy reduction, https://arxiv.org/abs/2103.03230."""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def barlow_twins_loss(first: Tensor, second: Tensor, *, lambd: float = 0.0051) -> Tensor:
    """Compute the distance of the cross-correlation of two views from the identity (eq. 1 and 2).

        c_ij = mean over the batch of a_i b_j, each feature of a and b standardised over the batch
        loss = sum_i (1 - c_ii)^2 + lambd * sum over i != j of c_ij^2

    Args:
        first: Projections of one view, of all processes, shape (N, D).
        second: Those of another, shape (N, D).
        lambd: Weight of the redundancy.

    Returns:
        Shape (), in float32 or finer.

    Raises:
        ConfigError: `lambd` is negative, or there are fewer than two samples.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(barlow_twins_loss(z, -z, lambd=1.0).item(), 3)  # each feature is the other's negative: 2 (1 + 1)^2
    8.0
    """
    if not lambd >= 0:
        raise ConfigError(f"lambd={lambd}; expected a value of at least 0.")
    if len(first) < 2:
        raise ConfigError("A correlation needs at least two samples in a batch.")
    with torch.autocast(first.device.type, enabled=False):
        a, b = (_standardised(x.to(torch.promote_types(x.dtype, torch.float32))) for x in (first, second))
        correlation = a.T @ b / len(a)
        diagonal = correlation.diagonal()
        redundancy = correlation.square().sum() - diagonal.square().sum()
        return (1 - diagonal).square().sum() + lambd * redundancy


def _standardised(x: Tensor) -> Tensor:
    """Return features of mean 0 and variance 1 over the batch, as a batch normalisation without weights has them."""
    return (x - x.mean(dim=0)) * (x.var(dim=0, unbiased=False) + 1e-5).rsqrt()
