"""iBOT: self-distillation of hidden patches, https://arxiv.org/abs/2111.07832."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


def ibot_loss(student: Tensor, target: Tensor, valid: Tensor, *, temp: float) -> Tensor:
    """Compute the cross-entropy of the hidden patches of a view, as student and teacher see them (eq. 2).

        loss = mean over samples of  - 1 / |hidden| sum over hidden i of sum_k target_ik log softmax(student_i / temp)_k

    A sample of which nothing is hidden counts as 0.

    Args:
        student: Scores of the patches that the student did not see, shape (B, M, K).
        target: Distributions that the teacher, which saw them, gives for them, shape (B, M, K); take no gradient.
        valid: Which of the M places of a sample hold a patch, bool, shape (B, M).
        temp: Temperature of the student, above 0.

    Returns:
        Mean over the batch, shape (), in float32 or finer.

    Raises:
        ConfigError: The temperature is not above 0.

    >>> target, valid = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]), torch.tensor([[True, False]])
    >>> ibot_loss(torch.zeros(1, 2, 2), target, valid, temp=0.1)  # log(2)
    tensor(0.6931)
    """
    if not temp > 0:
        raise ConfigError(f"temp={temp}: a temperature is above 0.")
    dtype = torch.promote_types(student.dtype, torch.float32)
    with torch.autocast(student.device.type, enabled=False):
        logits = (student.to(dtype) / temp).flatten(0, 1)
        losses = F.cross_entropy(logits, target.detach().to(dtype).flatten(0, 1), reduction="none").view_as(valid)
        weights = valid.to(dtype)
        return ((losses * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)).mean()
