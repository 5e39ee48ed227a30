"""SwAV: swapped assignments of views to prototypes, https://arxiv.org/abs/2006.09882."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


def _alone(x: Tensor) -> Tensor:
    return x


@torch.no_grad()
def sinkhorn(
    scores: Tensor, *, eps: float = 0.05, iterations: int = 3, everywhere: Callable[[Tensor], Tensor] = _alone
) -> Tensor:
    """Assign samples to prototypes so that all prototypes are used alike (the paper's eq. 3 to 5).

        Q = Diag(u) exp(scores / eps) Diag(v),  with rows and columns brought to equal sums in turn

    Args:
        scores: Cosines of the samples of this process with the prototypes, shape (B, K); a row of minus infinity is
            left out, and assigned to nothing.
        eps: Smoothness; small values give hard assignments.
        iterations: Of Sinkhorn and Knopp's algorithm.
        everywhere: Sums a tensor over all processes; by default there is one.

    Returns:
        Assignments, shape (B, K), rows of sum 1, in float32 or finer, detached.

    Raises:
        ConfigError: `eps` is not above 0.

    >>> sinkhorn(torch.tensor([[1.0, 0.9], [1.0, 0.0]]), eps=0.05, iterations=50).round().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if not eps > 0:
        raise ConfigError(f"eps={eps}; expected a value above 0.")
    with torch.autocast(scores.device.type, enabled=False):
        # A constant factor changes no assignment; this one keeps the exponentials of cosines in range.
        q = ((scores.to(torch.promote_types(scores.dtype, torch.float32)) - 1) / eps).exp()
        for _ in range(iterations):
            q = q / everywhere(q.sum(dim=0, keepdim=True)).clamp_min(torch.finfo(q.dtype).tiny)
            q = q / q.sum(dim=1, keepdim=True).clamp_min(torch.finfo(q.dtype).tiny)
        return q


def swav_loss(scores: Tensor, assignment: Tensor, *, temp: float = 0.1) -> Tensor:
    """Compute the cross-entropy of a view's scores and another view's assignment (eq. 2).

    Args:
        scores: Similarities of a view to the prototypes, shape (B, K).
        assignment: Assignments of another view of the same samples, shape (B, K); take no gradient.
        temp: Temperature, above 0.

    Returns:
        Mean over the batch, shape (), in float32 or finer.

    Raises:
        ConfigError: The temperature is not above 0.

    >>> swav_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))  # log(2)
    tensor(0.6931)
    """
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    with torch.autocast(scores.device.type, enabled=False):
        logits = scores.to(torch.promote_types(scores.dtype, torch.float32)) / temp
        return F.cross_entropy(logits, assignment.detach().to(logits.dtype))
