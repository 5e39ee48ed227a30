"""VICReg: variance, invariance, covariance, https://arxiv.org/abs/2105.04906."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


class VICReg(NamedTuple):
    """The terms of the loss before their weights, each of shape ().

    Attributes:
        invariance: Mean squared distance of two views.
        variance: Sum over the views of how far the standard deviations of features are below 1.
        covariance: Sum over the views of the squared covariances of different features, by feature.
    """

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg_terms(views: Sequence[Tensor]) -> VICReg:
    """Compute the three terms (eq. 1 to 5), in float32 or finer.

        v(Z) = mean_j max(0, 1 - sqrt(Var(Z_j) + 1e-4))
        c(Z) = 1 / D * sum over i != j of Cov(Z)_ij^2
        s(Z, Z') = mean over the batch of |z - z'|^2 / D

    Variance and covariance are summed over the views, as the two of eq. 6; the invariance is the mean over their pairs.

    Args:
        views: Projections of at least two views, of all processes, each of shape (N, D).

    Raises:
        ConfigError: There is one view, or there are fewer than two samples.

    >>> z = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    >>> [term.item() for term in vicreg_terms([z, z + 1])]
    [1.0, 0.0, 0.0]
    """
    if len(views) < 2 or len(views[0]) < 2:
        raise ConfigError(f"VICReg needs two views and two samples, not {len(views)} of {len(views[0])}.")
    with torch.autocast(views[0].device.type, enabled=False):
        zs = [z.to(torch.promote_types(z.dtype, torch.float32)) for z in views]
        distances = [F.mse_loss(a, b) for a, b in itertools.combinations(zs, 2)]
        return VICReg(
            invariance=torch.stack(distances).mean(),
            variance=torch.stack([_variance(z) for z in zs]).sum(),
            covariance=torch.stack([_covariance(z) for z in zs]).sum(),
        )


def _variance(z: Tensor) -> Tensor:
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


def _covariance(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]
