"""NNCLR: nearest neighbours as positives, https://arxiv.org/abs/2104.14548."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


@torch.no_grad()
def nearest_neighbours(z: Tensor, support: Tensor) -> Tensor:
    """Return, for each row, the row of a support set that is nearest to it (the paper's eq. 2).

    Args:
        z: Normalised features, shape (B, D).
        support: Normalised features of earlier samples, shape (K, D).

    Returns:
        Shape (B, D), in the type of the support set, detached.

    >>> nearest_neighbours(torch.tensor([[0.9, 0.1]]), torch.eye(2)).tolist()
    [[1.0, 0.0]]
    """
    with torch.autocast(z.device.type, enabled=False):
        return support[(z.to(support.dtype) @ support.T).argmax(dim=1)]


def nnclr_loss(
    neighbour: Tensor, prediction: Tensor, *, temp: float, everyone: Tensor | None = None, offset: int = 0
) -> Tensor:
    """Compute InfoNCE between the neighbours of one view and the predictions of another (eq. 3).

        p_ik = exp(neighbour_i . prediction_k / temp), divided by its sum over k
        loss = - mean over i of log p_ii

    Args:
        neighbour: Nearest neighbours of the projections of a view, normalised, shape (B, D); take no gradient.
        prediction: Normalised predictions of another view of the same samples, shape (B, D).
        temp: Temperature, above 0.
        everyone: Predictions of all processes in the order of the ranks, with their gradients, shape (N, D); by default
            `prediction`.
        offset: Row of `everyone` where `prediction` begins: rank * B.

    Returns:
        Mean over the batch, shape (), in float32 or finer.

    Raises:
        ConfigError: The temperature is not above 0.

    >>> nnclr_loss(torch.eye(2), torch.eye(2), temp=1.0)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    everyone = prediction if everyone is None else everyone
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        logits = neighbour.detach().to(dtype) @ everyone.to(dtype).T / temp
        return F.cross_entropy(logits, torch.arange(offset, offset + len(neighbour), device=logits.device))
