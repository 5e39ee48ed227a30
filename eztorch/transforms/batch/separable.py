"""Linear maps along height and width: blur and scaling, as a small matrix for each side and sample."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Filter = Literal["bilinear", "bicubic"]


def separable(batch: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply the frames x of every sample from both sides: `rows x columns^T`.

    Args:
        batch: Batch, shape (B, ..., C, H, W).
        rows: Matrices over the height, shape (B, P, H).
        columns: Matrices over the width, shape (B, Q, W).

    Returns:
        Batch, shape (B, ..., C, P, Q), not contiguous.
    """
    height, width = batch.shape[-2:]
    frames = batch.reshape(len(batch), -1, width)
    # The width goes to the front in the first product, so that the second finds the height at the end.
    across = torch.bmm(columns, frames.transpose(1, 2)).reshape(len(batch), -1, height)
    both = torch.bmm(across, rows.transpose(1, 2)).view(len(batch), columns.shape[1], -1, rows.shape[1])
    result: Tensor = both.permute(0, 2, 3, 1).unflatten(1, batch.shape[1:-2])
    return result


def resizing_matrices(start: Tensor, length: Tensor, size: int, target: int, kind: Filter = "bilinear") -> Tensor:
    """Return the matrices that cut a stretch from a side and scale it, with antialiasing, as PIL and torch do.

    Output i of `target` looks at the place `c = (i + 1/2) s` of the stretch, `s = length / target`; pixel j of the
    stretch has the weight `f((j + 1/2 - c) / max(s, 1))`, and the weights of an output sum to 1.

    Args:
        start: First pixel of the stretch of each sample, shape (B,).
        length: Number of its pixels, shape (B,).
        size: Length of the side.
        target: Length afterwards.
        kind: `bilinear`: f(x) = 1 - |x| up to 1; `bicubic`: Keys' kernel with a = -0.5, up to 2.

    Returns:
        Matrices, shape (B, target, size).
    """
    stride = (length / target)[:, None, None]
    centre = (torch.arange(target, device=start.device)[:, None] + 0.5) * stride
    pixel = torch.arange(size, device=start.device) - start[:, None, None]
    x = ((pixel + 0.5 - centre) / stride.clamp(min=1)).abs()
    if kind == "bilinear":
        weights = (1 - x).clamp(min=0)
    else:
        near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        weights = torch.where(x < 1, near, torch.where(x < 2, far, 0))
    weights = weights * ((pixel >= 0) & (pixel < length[:, None, None]))
    return weights / weights.sum(dim=-1, keepdim=True)
