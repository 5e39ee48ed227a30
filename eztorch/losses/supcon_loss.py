"""Supervised contrastive learning (SupCon), https://arxiv.org/abs/2004.11362."""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def supcon_loss(
    z: Tensor,
    labels: Tensor,
    *,
    temp: float,
    everyone: Tensor | None = None,
    all_labels: Tensor | None = None,
    offset: int = 0,
) -> Tensor:
    """Compute the supervised contrastive loss with the sum outside of the logarithm (L_out, eq. 2).

    With a an anchor, A all rows but its own, and P those of A with its label (a sample without one, -1, is alone with
    its other views):

        loss = mean over a of - 1 / |P| sum over p in P of log ( exp(z_a . z_p / temp) / sum over A of exp(...) )

    Args:
        z: Normalised projections of the views, shape (V, B, D). The anchors.
        labels: Classes, -1 for none, shape (B,).
        temp: Temperature, above 0.
        everyone: Projections of all processes in the order of the ranks, with their gradients, shape (V, N, D); by
            default z.
        all_labels: Their classes, shape (N,).
        offset: Sample of `everyone` where `z` begins: rank * B.

    Returns:
        Mean over the anchors that have a positive, shape (), in float32 or finer; 0 when none has.

    Raises:
        ConfigError: The temperature is not above 0, or there is one row only.

    >>> z = torch.eye(2).expand(2, 2, 2)
    >>> supcon_loss(z, torch.tensor([0, 1]), temp=1.0)  # every sample a class of its own: NT-Xent
    tensor(0.5514)
    """
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    everyone, all_labels = (z, labels) if everyone is None or all_labels is None else (everyone, all_labels)
    (views, batch, _), samples = z.shape, everyone.shape[1]
    if views * samples < 2:
        raise ConfigError("A contrast needs at least two rows.")
    dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        logits = (z.to(dtype) @ everyone.to(dtype).flatten(0, 1).T / temp).flatten(0, 1)  # (V * B, V * N)
    sample = torch.arange(offset, offset + batch, device=z.device)
    itself = sample[:, None] == torch.arange(samples, device=z.device)
    alike = itself | ((labels[:, None] == all_labels) & (labels[:, None] >= 0))
    own = torch.eye(views, dtype=torch.bool, device=z.device)[:, None, :, None] & itself[None, :, None]
    own = own.expand(views, batch, views, samples).reshape_as(logits)
    positives = alike.repeat(views, views) & ~own
    log_share = logits - logits.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    number = positives.sum(dim=1)
    losses = -(log_share * positives).sum(dim=1) / number.clamp(min=1)
    return losses.sum() / (number > 0).sum().clamp(min=1)
