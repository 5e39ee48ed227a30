"""Masked autoencoders: which patches are hidden, and how well they are restored.

Papers: https://arxiv.org/abs/2111.06377 (MAE), https://arxiv.org/abs/2203.12602 (VideoMAE).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


def random_visible(
    batch: int, grid: Sequence[int], mask_ratio: float, *, tube: bool = False, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Draw which patches of each sample stay visible, from torch's global generator.

    Args:
        batch: B, number of samples.
        grid: Patches along each side: (height, width) or (time, height, width).
        mask_ratio: Share that is hidden, from 0 to below 1; the number of visible ones is rounded down, but 1 stays.
        tube: Hide the same places at all times (VideoMAE, section 3.3).
        device: Where to draw.

    Returns:
        Indices of the visible patches, ascending, shape (B, V), and of the hidden ones, shape (B, N - V).

    Raises:
        ConfigError: The ratio is out of its range.

    >>> visible, hidden = random_visible(2, (2, 2, 2), 0.5, tube=True)
    >>> visible.shape, hidden.shape, bool((visible[:, :2] + 4 == visible[:, 2:]).all())
    (torch.Size([2, 4]), torch.Size([2, 4]), True)
    """
    if not 0 <= mask_ratio < 1:
        raise ConfigError(f"mask_ratio={mask_ratio}; expected a share from 0 to below 1.")
    times = grid[0] if tube else 1
    places = math.prod(grid) // times
    kept = max(int(places * (1 - mask_ratio) + 1e-9), 1)
    order = torch.rand(batch, places, device=device).argsort(dim=1)
    parts = order[:, :kept].sort(dim=1).values, order[:, kept:].sort(dim=1).values
    shift = torch.arange(times, device=device)[:, None] * places
    visible, hidden = ((part[:, None] + shift).flatten(1) for part in parts)
    return visible, hidden


def patchify(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Cut images or clips into patches.

    Args:
        x: Shape (B, C, H, W) or (B, C, T, H, W).
        patch: Sides of a patch.

    Returns:
        Pixels of the patches, shape (B, N, P), channels last within a patch, N and P in the order of the sides.

    >>> patchify(torch.arange(4.0).view(1, 1, 2, 2), (1, 2)).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    sides = len(patch)
    for side, part in enumerate(patch):
        x = x.unflatten(2 + 2 * side, (-1, part))
    grid = [2 + 2 * side for side in range(sides)]
    return x.permute(0, *grid, *(axis + 1 for axis in grid), 1).flatten(1 + sides).flatten(1, sides)


def mae_loss(prediction: Tensor, target: Tensor, *, normalise: bool = True) -> Tensor:
    """Compute the mean squared error of restored patches (MAE, section 3, "Reconstruction target").

    Args:
        prediction: Restored pixels of the hidden patches, shape (B, M, P).
        target: Their pixels, shape (B, M, P).
        normalise: Bring the pixels of each patch to mean 0 and variance 1 first.

    Returns:
        Mean over patches and pixels, shape (), in float32 or finer.

    >>> mae_loss(torch.zeros(1, 1, 2), torch.tensor([[[4.0, 8.0]]]), normalise=False)
    tensor(40.)
    """
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        pixels = target.detach().to(dtype)
        if normalise:
            pixels = (pixels - pixels.mean(dim=2, keepdim=True)) / (pixels.var(dim=2, keepdim=True) + 1e-6).sqrt()
        return (prediction.to(dtype) - pixels).square().mean()
