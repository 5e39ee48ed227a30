"""Pixels of samples as people look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from eztorch.datasets.failures import ReadError, SampleFailure

_GREY = 128


def sample_thumbnail(
    dataset: Any,
    index: int,
    *,
    height: int = 112,
    num_frames: int = 1,
    scale: tuple[list[float], list[float]] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return frames of a sample of an evaluation, small enough to be shown.

    Args:
        dataset: Whose samples have `input`, as it is before the transform on the device; of several clips or views the
            first is shown. For instance `datamodule.dataset("val")`.
        index: Which sample, the `idx` of its batch.
        height: Pixels.
        num_frames: Frames of a clip at most, evenly spread; one is that in the middle.
        scale: Mean and standard deviation that the input was normalised with, see `find_normalisation`.

    Returns:
        Shape (T, height, width, 3). A sample that cannot be read is a grey tile with the reason on it.
    """
    pixels = first_view(dataset, index)
    if isinstance(pixels, str):
        return reason_tile(pixels, height)
    return frames_of(to_display(pixels, scale), height=height, num_frames=num_frames)


def first_view(dataset: Any, index: int) -> Tensor | str:
    """Return the first view of the input of a sample, or why it cannot be read; see `sample_thumbnail`."""
    try:
        item = dataset[index]
    except (ReadError, OSError) as error:
        return str(error)
    item = item[0] if isinstance(item, list) else item
    if isinstance(item, SampleFailure):
        return item.reason
    view = item["input"]
    while isinstance(view, list | tuple):
        view = view[0]
    return view  # type: ignore[no-any-return]


def frames_of(pixels: Tensor, *, height: int = 112, num_frames: int = 1) -> npt.NDArray[np.uint8]:
    """Return frames of a clip, or an image, in some height.

    Args:
        pixels: uint8, shape (C, T, H, W) or (C, H, W).
        height: Pixels.
        num_frames: Frames at most, evenly spread; one is that in the middle.

    Returns:
        Shape (T, height, width, 3); other numbers of channels than three are shown in grey.

    >>> frames_of(torch.zeros(3, 8, 20, 40, dtype=torch.uint8), height=10, num_frames=4).shape
    (4, 10, 20, 3)
    """
    clip = pixels if pixels.ndim == 4 else pixels[:, None]
    length = clip.shape[1]
    places = [length // 2] if num_frames == 1 else torch.linspace(0, length - 1, min(num_frames, length)).round().long()
    images = clip[:, places].transpose(0, 1).float()
    if images.shape[1] != 3:
        images = images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    width = max(1, round(height * images.shape[3] / images.shape[2]))
    images = functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
    frames: npt.NDArray[np.uint8] = images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return frames


def reason_tile(reason: str, height: int = 112) -> npt.NDArray[np.uint8]:
    """Return a grey square with words on it, shape (1, height, height, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from eztorch.visualization.canvas import DPI, SMALL, wrap

    figure = Figure(figsize=(height / DPI, height / DPI), dpi=DPI, facecolor=str(_GREY / 255))
    lines = wrap(reason, height - 8, size=SMALL, most=max(1, (height - 8) // 15))
    words = "\n".join(lines)
    figure.text(4 / height, 1 - 4 / height, words, fontsize=SMALL, color="white", va="top", parse_math=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    tile: npt.NDArray[np.uint8] = np.array(canvas.buffer_rgba())[None, ..., :3]
    return tile


def to_display(pixels: Tensor, scale: tuple[list[float], list[float]] | None) -> Tensor:
    """Return pixels as people look at them: uint8, not normalised.

    Args:
        pixels: Shape (C, T, H, W) or (C, H, W); floats in the range of the input of a model, 0 to 1 or 0 to 255.
        scale: Mean and standard deviation that they were normalised with; None where they were not.
    """
    if not pixels.is_floating_point():
        return pixels.to(torch.uint8)
    values = pixels.detach().cpu()
    if scale is not None:
        mean, std = (torch.tensor(one, dtype=values.dtype).view(-1, *[1] * (values.ndim - 1)) for one in scale)
        values = values * std + mean
    if values.max() > 2:  # 0 to 255
        values = values / 255
    if values.min() < -0.1:  # differences in time: grey is none
        values = values / (2 * values.abs().max().clamp_min(1e-8)) + 0.5
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def find_normalisation(spec: Any) -> tuple[list[float], list[float]] | None:
    """Return the mean and standard deviation of the first transform in a spec that has them.

    >>> find_normalisation({"transforms": [{"_target_": "x.Normalize", "mean": [0.5], "std": [0.2]}]})
    ([0.5], [0.2])
    """
    if isinstance(spec, Mapping):
        if "mean" in spec and "std" in spec:
            return [float(one) for one in spec["mean"]], [float(one) for one in spec["std"]]
        spec = list(spec.values())
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return next((found for one in spec if (found := find_normalisation(one)) is not None), None)
    return None
