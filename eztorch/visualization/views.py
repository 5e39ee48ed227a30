"""Pictures of what a model sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

_GAP, _BLOCK_GAP, _MARGIN, _HEADER = 4, 20, 6, 26  # pixels
_DPI = 128  # a power of two: a size in pixels survives the way through inches
_TEXT = "#7f7f86"  # legible on white and on black


def contact_sheet(views: Tensor | Sequence[Tensor], **options: Any) -> npt.NDArray[np.uint8]:
    """Lay views out as one picture: a row a sample, a block a view, the frames of a clip side by side.

    Args:
        views: Inputs of the model, one tensor a view, shape (B, C, T, H, W) for clips and (B, C, H, W) for images; or
            one tensor of V clips of each sample, shape (B, V, C, T, H, W).
        **options: See `view_block`.

    Returns:
        Picture with transparent gaps (RGBA), shape (height, width, 4).

    >>> contact_sheet([torch.zeros(2, 3, 4, 8, 8), torch.zeros(2, 3, 4, 8, 8)], height=10).shape
    (24, 124, 4)
    """
    return _assemble([view_block(view, **options) for view in _as_list(views)])


def save_contact_sheet(views: Tensor | Sequence[Tensor], path: str | Path, **options: Any) -> None:
    """Write the contact sheet of views as a PNG, with a title above each view.

    Args:
        views: As for `contact_sheet`.
        path: File to write; its folder is made when it is not there.
        **options: See `view_block`.
    """
    from matplotlib.figure import Figure

    views = _as_list(views)
    blocks = [view_block(view, **options) for view in views]
    sheet = _assemble(blocks)
    height, width = sheet.shape[0] + _HEADER + _MARGIN, sheet.shape[1] + 2 * _MARGIN
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.figimage(sheet, xo=_MARGIN, yo=_MARGIN)
    left = _MARGIN
    for number, (view, block) in enumerate(zip(views, blocks, strict=True), start=1):
        title = f"view {number}" if len(views) > 1 else "input"
        position = (left / width, 1 - _HEADER / 2 / height)
        figure.text(*position, f"{title}: {_describe(view)}", va="center", fontsize=8.5, color=_TEXT)
        left += block.shape[3] + _BLOCK_GAP
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True)


def view_block(
    view: Tensor,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    num_frames: int = 8,
    height: int = 96,
) -> Tensor:
    """Lay the frames of each sample of a view side by side.

    Args:
        view: Shape (B, C, T, H, W) or (B, C, H, W).
        mean: Mean that the input was normalised with, a number a channel; without it each clip is stretched between its
            own smallest and largest value.
        std: Standard deviation that it was normalised with.
        num_frames: Frames shown of a clip at most, evenly spaced.
        height: Height of a frame in the picture, in pixels.

    Returns:
        Strips, red, green, blue and opacity from 0 to 1, shape (B, 4, height, width).
    """
    clips = view.detach().float().cpu()
    clips = clips[:, :, None] if clips.ndim == 4 else clips
    clips = _to_unit_range(clips, mean, std, is_integer=not view.is_floating_point())
    if clips.shape[1] != 3:
        clips = clips.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1, -1)
    shown = min(num_frames, clips.shape[2])
    clips = clips[:, :, torch.linspace(0, clips.shape[2] - 1, shown).round().long()]
    samples, _, frames, *size = clips.shape
    width = max(1, round(height * size[1] / size[0]))
    images = clips.transpose(1, 2).reshape(samples * frames, 3, *size)
    images = functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
    images = functional.pad(images, (0, 0, 0, 0, 0, 1), value=1.0)  # opaque
    images = functional.pad(images, (0, _GAP)).view(samples, frames, 4, height, width + _GAP)
    return images.permute(0, 2, 3, 1, 4).flatten(3)[..., :-_GAP]


def _to_unit_range(
    clips: Tensor, mean: Sequence[float] | None, std: Sequence[float] | None, *, is_integer: bool
) -> Tensor:
    if is_integer:
        return clips / 255
    if mean is not None and std is not None:
        shape = (1, -1, 1, 1, 1)
        return (clips * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)).clamp(0, 1)
    low, high = clips.flatten(1).aminmax(dim=1)
    low, high = low.view(-1, 1, 1, 1, 1), high.view(-1, 1, 1, 1, 1)
    return (clips - low) / (high - low).clamp_min(1e-8)


def _assemble(blocks: Sequence[Tensor]) -> npt.NDArray[np.uint8]:
    samples, _, height, _ = blocks[0].shape
    total_width = sum(block.shape[3] for block in blocks) + _BLOCK_GAP * (len(blocks) - 1)
    sheet = torch.zeros(4, samples * (height + _GAP) - _GAP, total_width)
    left = 0
    for block in blocks:
        for row, strip in enumerate(block):
            top = row * (height + _GAP)
            sheet[:, top : top + height, left : left + strip.shape[2]] = strip
        left += block.shape[3] + _BLOCK_GAP
    picture: npt.NDArray[np.uint8] = (sheet.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    return picture


def _as_list(views: Tensor | Sequence[Tensor]) -> list[Tensor]:
    if not isinstance(views, Tensor):
        return list(views)
    return [views] if views.ndim < 6 else list(views.unbind(1))


def _describe(view: Tensor) -> str:
    size = f"{view.shape[-2]} x {view.shape[-1]}"
    return f"{view.shape[2]} frames of {size}" if view.ndim == 5 else size
