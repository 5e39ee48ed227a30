"""Contrastive losses inside a batch: NT-Xent and its decoupled forms.

Papers: https://arxiv.org/abs/2002.05709 (SimCLR), https://arxiv.org/abs/2110.06848 (DCL and DCLW).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def simclr_loss(z: Tensor, *, temp: float, everyone: Tensor | None = None, offset: int = 0) -> Tensor:
    """Compute NT-Xent (SimCLR, eq. 1) over any number of views.

    With a an anchor, P its sample's other views and A all rows but its own:

        loss = - mean over a and p in P of log ( exp(z_a . z_p / temp) / sum over k in A of exp(z_a . z_k / temp) )

    Args:
        z: Normalised projections of the views, shape (V, B, D), V of at least 2. The anchors.
        temp: Temperature, above 0.
        everyone: Those of all processes in the order of the ranks, with their gradients, shape (V, N, D); by default z.
        offset: Sample of `everyone` where `z` begins: rank * B.

    Returns:
        Mean over the anchors, shape (), in float32 or finer.

    Raises:
        ConfigError: The temperature is not above 0, there is one view, or there are no negatives.

    >>> z = torch.eye(2).expand(2, 2, 2)  # two samples whose views agree and that are orthogonal
    >>> simclr_loss(z, temp=1.0)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    """
    logits, positives = _similarities(z, everyone, offset, temp)
    return (logits.logsumexp(dim=2, keepdim=True) - positives).mean()


def dcl_loss(
    z: Tensor, *, temp: float, sigma: float | None = None, everyone: Tensor | None = None, offset: int = 0
) -> Tensor:
    """Compute the decoupled contrastive loss (DCL, eq. 5), or its weighted form DCLW (eq. 6): no positive below.

    With a an anchor, P its sample's other views and N all views of other samples:

        loss = mean over a and p in P of - w_ap z_a . z_p / temp + log sum over k in N of exp(z_a . z_k / temp)
        w_ap = 2 - exp(z_a . z_p / sigma) / mean over the pairs (a, p) of the same two views of exp(z_a . z_p / sigma)

    Args:
        z: Normalised projections of the views, shape (V, B, D), V of at least 2. The anchors.
        temp: Temperature, above 0.
        sigma: Width of the weights; None for w = 1. The paper has 0.5.
        everyone: Those of all processes in the order of the ranks, with their gradients, shape (V, N, D); by default z.
        offset: Sample of `everyone` where `z` begins: rank * B.

    Returns:
        Mean over the anchors, shape (), in float32 or finer.

    Raises:
        ConfigError: The temperature or sigma is not above 0, there is one view, or there are no negatives.

    >>> z = torch.eye(2).expand(2, 2, 2)
    >>> dcl_loss(z, temp=1.0)  # log(2) - 1
    tensor(-0.3069)
    """
    logits, positives = _similarities(z, everyone, offset, temp)
    views, batch = z.shape[:2]
    samples = torch.arange(offset, offset + batch, device=z.device)
    same = torch.zeros(batch, logits.shape[2] // views, dtype=torch.bool, device=z.device)
    same[torch.arange(batch, device=z.device), samples] = True
    others = logits.masked_fill(same.repeat(1, views), -torch.inf).logsumexp(dim=2, keepdim=True)
    if sigma is None:
        return (others - positives).mean()
    if not sigma > 0:
        raise ConfigError(f"sigma={sigma}; expected a value above 0.")
    pairs = (z if everyone is None else everyone).to(logits.dtype)
    with torch.autocast(z.device.type, enabled=False):
        agreement = torch.einsum("vnd,wnd->vwn", pairs, pairs) / sigma
    # In logarithms: a narrow width would make the exponentials infinite.
    log_mean = agreement.logsumexp(dim=2) - math.log(pairs.shape[1])
    log_mean = log_mean.gather(1, _others(views, z.device))[:, None]  # (V, 1, V - 1)
    weights = 2 - (positives * temp / sigma - log_mean).exp()
    return (others - weights * positives).mean()


def _similarities(z: Tensor, everyone: Tensor | None, offset: int, temp: float) -> tuple[Tensor, Tensor]:
    """Return logits of each anchor to all rows, its own -inf, (V, B, V * N), and to its positives, (V, B, V - 1)."""
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    everyone = z if everyone is None else everyone
    (views, batch, _), samples = z.shape, everyone.shape[1]
    if views < 2 or samples < 2:
        raise ConfigError(f"A contrast needs two views and two samples, not {views} view(s) of {samples} sample(s).")
    dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        logits = z.to(dtype) @ everyone.to(dtype).flatten(0, 1).T / temp  # (V, B, V * N)
    logits = logits.unflatten(2, (views, samples))
    view, sample = torch.arange(views, device=z.device), torch.arange(batch, device=z.device)
    same = logits[:, sample, :, offset + sample].permute(1, 0, 2)  # (V, B, V): to the same sample in each view
    positives = same.gather(2, _others(views, z.device)[:, None].expand(-1, batch, -1))
    own = torch.zeros_like(logits, dtype=torch.bool)
    own[view[:, None], sample, view[:, None], offset + sample] = True
    return logits.masked_fill(own, -torch.inf).flatten(2), positives


def _others(views: int, device: torch.device) -> Tensor:
    """Return the other views of each view, shape (V, V - 1)."""
    view = torch.arange(views, device=device)
    return (view[:, None] + view[1:]) % views
