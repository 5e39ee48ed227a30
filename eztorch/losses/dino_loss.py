"""DINO: self-distillation without labels, https://arxiv.org/abs/2104.14294."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


def dino_loss(student: Tensor, teacher: Tensor, *, temp: float, temp_m: float, centre: Tensor) -> Tensor:
    """Compute the cross-entropy of a student view and a centred, sharpened teacher view (eq. 1 and 2, algorithm 1).

        loss = - mean over the batch of sum_k softmax((teacher - centre) / temp_m)_k log softmax(student / temp)_k

    Args:
        student: Outputs of the online branch, shape (B, K).
        teacher: Outputs of the target for another view of the same samples, shape (B, K); take no gradient.
        temp: Temperature of the student, above 0.
        temp_m: Temperature of the teacher, above 0; lower is sharper.
        centre: What the teacher gives on average, shape (K,).

    Returns:
        Mean over the batch, shape (), in float32 or finer.

    Raises:
        ConfigError: A temperature is not above 0.

    >>> dino_loss(torch.zeros(1, 2), torch.tensor([[5.0, 1.0]]), temp=0.1, temp_m=0.04, centre=torch.zeros(2))  # log(2)
    tensor(0.6931)
    """
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    dtype = torch.promote_types(student.dtype, torch.float32)
    target = centred(teacher.detach().to(dtype), temp_m=temp_m, centre=centre)
    with torch.autocast(student.device.type, enabled=False):
        return F.cross_entropy(student.to(dtype) / temp, target)


@torch.no_grad()
def centred(scores: Tensor, *, temp_m: float, centre: Tensor) -> Tensor:
    """Return the centred and sharpened distributions of a teacher, which the student learns.

    Args:
        scores: Outputs of the teacher, shape (..., K).
        temp_m: Temperature, above 0.
        centre: Shape (K,).

    Returns:
        Shape (..., K), in float32 or finer.

    Raises:
        ConfigError: The temperature is not above 0.

    >>> centred(torch.tensor([[5.0, 1.0]]), temp_m=0.04, centre=torch.tensor([5.0, 1.0]))
    tensor([[0.5000, 0.5000]])
    """
    if not temp_m > 0:
        raise ConfigError(f"temp_m={temp_m}: a temperature is above 0.")
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return ((scores - centre) / temp_m).softmax(dim=-1)
