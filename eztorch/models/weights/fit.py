"""Giving weights the shape that a network has for them: inflated over time, or interpolated over places."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.trunks.inflation import inflate_weight
from eztorch.models.trunks.positions import resize_grid, resize_times

_PLACES = re.compile(r"(.*[._])?(pos_embed|pos_embed_spatial|pos_embedding|position_embeddings?)$")
_TIMES = re.compile(r"(.*[._])?(time_embed|temporal_embed|pos_embed_temporal|temporal_pos_embed(ding)?)$")
_PATCHES = re.compile(r"(.*\.)?(patch_embed\.(proj|projection)|conv_proj)\.weight$")
_BIAS_TABLE = re.compile(r"(.*\.)?relative_position_bias_table$")
_RELATIVE = re.compile(r"(.*\.)?rel_pos_[htw]$")


class Fitted(NamedTuple):
    """A weight in the shape that is asked for.

    Attributes:
        value: The weight.
        change: `""` where nothing was changed, else `inflated` or `interpolated`.
    """

    value: Tensor
    change: str = ""


def fit(
    name: str, value: Tensor, shape: Sequence[int], *, inflation: str = "mean", grid: Sequence[int] | None = None
) -> Fitted | None:
    """Give a weight another shape, where that has a meaning.

    Kernels over images become kernels over clips. Positions of a grid, tables of relative positions and kernels of
    patches are interpolated to another grid; nothing else is.

    Args:
        name: Name of the weight, which says what it is.
        value: The weight.
        shape: The shape that the network has for it.
        inflation: How kernels get their length over time, see `eztorch.models.trunks.inflation.inflate_weight`.
        grid: Of positions, the grid that the network has them for; None where it does not tell it.

    Returns:
        None where it cannot be made to fit.

    >>> fit("conv1.weight", torch.ones(8, 3, 7, 7), (8, 3, 5, 7, 7)).change
    'inflated'
    >>> fit("fc.weight", torch.ones(8, 3), (9, 3)) is None
    True
    """
    wanted = tuple(shape)
    if tuple(value.shape) == wanted:
        return Fitted(value)
    if value.is_floating_point():
        if value.ndim == 4 and len(wanted) == 5 and tuple(value.shape) == (*wanted[:2], *wanted[3:]):
            return Fitted(inflate_weight(value, wanted[2], inflation), "inflated")
        for pattern, resize in _INTERPOLATED:
            if pattern.match(name) and value.ndim in (len(wanted), len(wanted) - 1):
                resized = resize(value, wanted, inflation, grid)
                if resized is not None:
                    return Fitted(resized.to(value.dtype), "interpolated")
    return None


def resize_positions(positions: Tensor, length: int, wanted: Sequence[int] | None = None) -> Tensor | None:
    """Return learned positions of a square grid, shape (1, K + n * n, C), for one of `length` tokens.

    K is the number of tokens before the grid, 0 to 2, which keep theirs; a length that has no place for them leaves
    them out. Places are interpolated (bicubic) to those of the wanted grid, whatever its sides. Where it has times,
    they are the same at each; but positions of as many places at other times are interpolated over time (linear).

    Where the grid is not known, a length of another square grid is taken for that, and a length of a whole number of
    the grids for that over time.

    Args:
        positions: Shape (1, K + n * n, C), or (1, K + T * H * W, C) with the places H x W of the wanted grid.
        length: Number of tokens.
        wanted: Places along each side: (height, width), or (time, height, width); None where it is not known.

    Returns:
        Shape (1, length, C); None where none of this holds.

    >>> resize_positions(torch.zeros(1, 197, 8), 1 + 28 * 28).shape, resize_positions(torch.zeros(1, 4, 8), 12).shape
    (torch.Size([1, 785, 8]), torch.Size([1, 12, 8]))
    """
    if positions.ndim != 3 or len(positions) != 1:
        return None
    if wanted is not None:
        return _to_grid(positions, length - math.prod(wanted), wanted)
    for before in range(3):
        first, grid = positions[:, :before], positions[:, before:]
        side, target = _side(grid.shape[1]), _side(length - before)
        if side and target:
            return torch.cat([first, resize_grid(grid, (side, side), (target, target))], dim=1)
    for before in range(3):
        first, grid = positions[:, :before], positions[:, before:]
        if _side(grid.shape[1]) and length > before and (length - before) % grid.shape[1] == 0:
            return torch.cat([first, grid.repeat(1, (length - before) // grid.shape[1], 1)], dim=1)
    for before in range(1, 3):
        side, target = _side(positions.shape[1] - before), _side(length)
        if side and target:
            return resize_grid(positions[:, before:], (side, side), (target, target))
    return None


def resize_patches(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """Return a patch embedding of another patch size, that gives resized patches what it gave the patches.

    The pseudo-inverse of the resizing of patches takes the place of resizing the kernel (FlexiViT,
    https://arxiv.org/abs/2212.08013, section 3.4).

    Args:
        kernel: Shape (out, in, h, w), or with time before h.
        size: Height and width.

    Returns:
        Shape (out, in, H, W), or with the same time.

    >>> resize_patches(torch.ones(8, 3, 16, 16), (8, 8)).shape
    torch.Size([8, 3, 8, 8])
    """
    height, width = kernel.shape[-2:]
    unit = torch.eye(height * width).unflatten(1, (1, height, width))
    resized = F.interpolate(unit, size=tuple(size), mode="bicubic", align_corners=False).flatten(1)  # rows of B^T
    solved = kernel.flatten(-2).float() @ torch.linalg.pinv(resized).mT
    resized_kernel: Tensor = solved.unflatten(-1, tuple(size))
    return resized_kernel


def _to_grid(positions: Tensor, before: int, wanted: Sequence[int]) -> Tensor | None:
    """Return positions for a known grid that has `before` tokens before it; see `resize_positions`."""
    for tokens in (before,) if before else (0, 1, 2):
        grid = _grid_of(positions.shape[1] - tokens, wanted)
        if grid is not None:
            return torch.cat([positions[:, :before], resize_grid(positions[:, tokens:], grid, wanted)], dim=1)
    return None


def _grid_of(number: int, wanted: Sequence[int]) -> tuple[int, ...] | None:
    """Return the grid that so many positions of a file are of, with a side of 1 for an image where clips are wanted."""
    *times, height, width = wanted
    if times and number > 0 and number % (height * width) == 0:
        return (number // (height * width), height, width)
    side = _side(number)
    return (*(1 for _ in times), side, side) if side else None


def _places(value: Tensor, wanted: tuple[int, ...], _: str, grid: Sequence[int] | None) -> Tensor | None:
    return _checked(resize_positions(value, wanted[1], grid) if len(wanted) == 3 else None, wanted)


def _times(value: Tensor, wanted: tuple[int, ...], *_: Any) -> Tensor | None:
    if value.ndim != 3 or len(wanted) != 3:
        return None
    return _checked(resize_times(value, wanted[1]), wanted)


def _relative(value: Tensor, wanted: tuple[int, ...], *_: Any) -> Tensor | None:
    if value.ndim != 2 or len(wanted) != 2:
        return None
    return _checked(F.interpolate(value.float().mT[None], size=wanted[0], mode="linear")[0].mT, wanted)


def _bias_table(value: Tensor, wanted: tuple[int, ...], *_: Any) -> Tensor | None:
    """Return the relative positions of a window, shape (L, heads): of another square, or the same at all times."""
    if value.ndim != 2 or len(wanted) != 2:
        return None
    side, target = _side(len(value)), _side(wanted[0])
    if side and wanted[0] % len(value) == 0:
        return _checked(value.repeat(wanted[0] // len(value), 1), wanted)
    if not side or not target:
        return None
    maps = value.float().mT.unflatten(1, (side, side))[None]
    resized = F.interpolate(maps, size=(target, target), mode="bicubic", align_corners=False)
    return _checked(resized[0].flatten(1).mT, wanted)


def _patches(value: Tensor, wanted: tuple[int, ...], inflation: str, *_: Any) -> Tensor | None:
    if len(wanted) not in (4, 5):
        return None
    kernel = resize_patches(value, wanted[-2:])
    return _checked(inflate_weight(kernel, wanted[2], inflation) if kernel.ndim < len(wanted) else kernel, wanted)


def _checked(resized: Tensor | None, wanted: tuple[int, ...]) -> Tensor | None:
    return resized if resized is not None and tuple(resized.shape) == wanted else None


def _side(number: int) -> int:
    """Return the side of a square of so many places, 0 where there is none."""
    root = math.isqrt(max(number, 0))
    return root if root * root == number else 0


_INTERPOLATED = (
    (_TIMES, _times),
    (_PLACES, _places),
    (_BIAS_TABLE, _bias_table),
    (_RELATIVE, _relative),
    (_PATCHES, _patches),
)
