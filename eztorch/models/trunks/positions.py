"""Positions of tokens: fixed sines and cosines, or learned ones, which are interpolated to other grids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def sine_cosine_positions(grid: Sequence[int], dim: int, device: torch.device | None = None) -> Tensor:
    """Return fixed positions of a grid, its sides encoded in equal parts of the token (MAE, appendix A.1).

    Along a side, position p has sin(p / 10000^(2 i / d)) and cos of the same, d the part of this side.

    Args:
        grid: Positions along each side.
        dim: Length of a token; what does not divide into pairs for every side stays 0.
        device: Where to.

    Returns:
        Shape (product of the grid, dim), float32.
    """
    pairs = dim // (2 * len(grid))
    rates = torch.exp(torch.arange(pairs, device=device) * (-math.log(10000.0) / pairs))
    axes = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    parts = [axis.reshape(-1, 1) * rates for axis in axes]
    encoded = torch.cat([part for angles in parts for part in (angles.sin(), angles.cos())], dim=1)
    return F.pad(encoded, (0, dim - encoded.shape[1]))


def sequence_positions(grid: Sequence[int], dim: int, device: torch.device | None = None) -> Tensor:
    """Return fixed positions of a grid whose places are counted one after another, as VideoMAE's code has them.

    Place p has sin(p / 10000^(2 i / dim)) at 2 i and cos of the same at 2 i + 1 (arXiv 1706.03762, section 3.5).
    Arguments and result are those of `sine_cosine_positions`.
    """
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10000.0) / dim))
    angles = torch.arange(math.prod(grid), device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]


def resize_grid(positions: Tensor, grid: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Return learned positions of a grid for another one: bicubic over space as timm does it, then linear over time.

    Args:
        positions: Shape (1, product of `grid`, C).
        grid: Places along each side: (height, width), or (time, height, width).
        wanted: The same of the result.

    Returns:
        Shape (1, product of `wanted`, C).

    >>> resize_grid(torch.zeros(1, 4, 8), (2, 2), (3, 4)).shape
    torch.Size([1, 12, 8])
    """
    if tuple(grid) == tuple(wanted):
        return positions
    times, dim = (grid[0] if len(grid) == 3 else 1), positions.shape[2]
    maps = positions.float().reshape(times, *grid[-2:], dim).permute(0, 3, 1, 2)
    if tuple(grid[-2:]) != tuple(wanted[-2:]):
        maps = F.interpolate(maps, size=tuple(wanted[-2:]), mode="bicubic", align_corners=False, antialias=True)
    flat = maps.permute(0, 2, 3, 1).flatten(1, 2)
    if len(wanted) == 3:
        flat = resize_times(flat.transpose(0, 1), wanted[0]).transpose(0, 1)
    return flat.reshape(1, -1, dim).to(positions.dtype)


def resize_times(positions: Tensor, length: int) -> Tensor:
    """Return learned positions in time, shape (B, T, C), for another number of times (linear)."""
    if positions.shape[1] == length:
        return positions
    return F.interpolate(positions.float().mT, size=length, mode="linear").mT.to(positions.dtype)
