"""W-MSE: whitening for self-supervised representation learning, https://arxiv.org/abs/2007.06346."""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def whitened(z: Tensor, *, eps: float = 0.0) -> Tensor:
    """Return features of mean 0 and covariance 1 over the batch, by a Cholesky factor (the paper's eq. 4).

    Args:
        z: Features, shape (N, D), N above D.
        eps: Share of the identity in the covariance before it is factorised.

    Raises:
        ConfigError: There are too few samples to whiten so many features.

    >>> white = whitened(torch.randn(50, 3, dtype=torch.float64))
    >>> bool(torch.allclose(white.T @ white / 49, torch.eye(3, dtype=torch.float64)))
    True
    """
    if len(z) <= z.shape[1]:
        raise ConfigError(
            f"Whitening {z.shape[1]} features takes more samples than that, not {len(z)}; make the global batch or "
            "whitening_size larger, or the projector's output smaller."
        )
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    factor = torch.linalg.cholesky_ex((1 - eps) * covariance + eps * identity).L
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False)
    return white.T


def wmse_loss(views: Tensor, *, size: int | None = None, eps: float = 0.0) -> Tensor:
    """Compute the mean squared distance of the whitened, normalised views, over their pairs (eq. 6).

    Args:
        views: Projections of all processes, shape (V, N, D), V of at least 2.
        size: Samples that are whitened together; samples beyond a multiple of it go to the last part. None for all.
        eps: See `whitened`.

    Returns:
        Mean over the pairs of views and the batch, shape (), in float32 or finer: 2 - 2 cos.

    Raises:
        ConfigError: As `whitened`, or there is one view.

    >>> z = torch.randn(1, 50, 3)
    >>> bool(wmse_loss(torch.cat([z, z])) < 1e-6)
    True
    """
    if len(views) < 2:
        raise ConfigError("W-MSE compares at least two views.")
    number = 1 if size is None else max(views.shape[1] // size, 1)
    with torch.autocast(views.device.type, enabled=False):
        z = views.to(torch.promote_types(views.dtype, torch.float32))
        parts = z.tensor_split([(size or 0) * part for part in range(1, number)], dim=1)
        white = torch.stack([torch.cat([whitened(part[v], eps=eps) for part in parts]) for v in range(len(z))])
        unit = torch.nn.functional.normalize(white, dim=2)
        first, second = torch.triu_indices(len(z), len(z), offset=1, device=z.device)
        return (2 - 2 * (unit[first] * unit[second]).sum(dim=2)).mean()
