"""Sizes and random crops of clips.

A clip has the shape `(C, T, H, W)`: C channels, T frames, H height, W width; uint8 or float. All frames of a clip are
cut and scaled alike. Scaling is done in the type of the clip, without antialiasing; a uint8 clip stays uint8 and lies
within 1 of the scaled float clip, in about a third of its time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.values import as_count

# Name to the `align_corners` of `torch.nn.functional.interpolate`, which nearest does not take.
_INTERPOLATIONS = {"bicubic": False, "bilinear": False, "nearest": None}


def resize(
    clip: Tensor, height: int, width: int, interpolation: str = "bilinear", *, antialias: bool = False
) -> Tensor:
    """Scale the frames of a clip.

    Args:
        clip: Clip, shape (C, T, H, W).
        height: New height.
        width: New width.
        interpolation: `nearest`, `bilinear` or `bicubic`.
        antialias: Whether to filter before scaling down, as PIL does; nearest never does.

    Returns:
        Clip, shape (C, T, height, width), of the same type.

    Raises:
        ConfigError: Another interpolation, or no clip.
    """
    align_corners = choose(_INTERPOLATIONS, interpolation, "interpolation")
    if tuple(checked(clip).shape[-2:]) == (height, width):
        return clip
    frames, is_bytes = clip.transpose(0, 1), clip.dtype == torch.uint8
    antialias = antialias and interpolation != "nearest"
    if is_bytes and interpolation == "bicubic" and not antialias:
        frames = frames.float()  # torch's kernel for bytes is another cubic than the one for floats
    elif is_bytes:  # the kernels for bytes are made for frames with their channels last
        frames = frames.contiguous(memory_format=torch.channels_last)
    scaled = interpolate(
        frames, size=(height, width), mode=interpolation, align_corners=align_corners, antialias=antialias
    )
    if is_bytes and scaled.dtype != torch.uint8:
        scaled = scaled.round_().clamp_(0, 255).to(torch.uint8)
    return scaled.transpose(0, 1)


def scale_short_side(clip: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Scale a clip so that its shorter side is `size`; the longer one is rounded down.

    Args:
        clip: Clip, shape (C, T, H, W).
        size: Length of the shorter side afterwards.
        interpolation: As in `resize`.

    Returns:
        Clip, shape (C, T, size, W size / H) or (C, T, H size / W, size).

    >>> tuple(scale_short_side(torch.zeros(3, 2, 240, 320), 120).shape)
    (3, 2, 120, 160)
    """
    height, width = checked(clip).shape[-2:]
    short = min(height, width)
    return resize(clip, height * size // short, width * size // short, interpolation)


def random_box(
    height: int,
    width: int,
    *,
    scale: tuple[float, float],
    aspect_ratio: tuple[float, float] | None,
    log_uniform_ratio: bool = True,
    num_tries: int = 10,
) -> tuple[int, int, int, int]:
    """Draw the box of a random resized crop (Szegedy et al., arXiv 1409.4842), with torch's global generator.

    The share of the area is drawn from U(scale), the ratio r of width over height from U(aspect_ratio) or, with
    `log_uniform_ratio`, log r from U(log aspect_ratio). After `num_tries` boxes that do not fit it is the largest box
    in the centre with an allowed ratio.

    Args:
        height: Height of the frame.
        width: Width of the frame.
        scale: Range of the share of the area.
        aspect_ratio: Range of r; None for that of the frame.
        log_uniform_ratio: Whether log r, not r, is drawn uniformly.
        num_tries: Number of boxes to try.

    Returns:
        Top, left, height and width of the box.
    """
    low, high = aspect_ratio or (width / height, width / height)
    for _ in range(num_tries):
        area = height * width * _uniform(*scale)
        ratio = math.exp(_uniform(math.log(low), math.log(high))) if log_uniform_ratio else _uniform(low, high)
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top = int(torch.randint(height - box_height + 1, ()))
            left = int(torch.randint(width - box_width + 1, ()))
            return top, left, box_height, box_width
    ratio = min(max(width / height, low), high)
    box_height, box_width = min(height, round(width / ratio)), min(width, round(height * ratio))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


class RandomResizedCrop(nn.Module):
    """Cut a random box from a clip and scale it; see `random_box`.

    Args:
        target_height: Height afterwards.
        target_width: Width afterwards.
        scale: Range of the share of the area that is cut.
        aspect_ratio: Range of the ratio of width over height of the box; None for that of the frames.
        shift: Whether a second box is drawn, for the last frame, and the box moves from the first to it.
        log_uniform_ratio: Whether the logarithm of the ratio is drawn uniformly.
        interpolation: As in `resize`.
        num_tries: Number of boxes to try before the one in the centre is taken.

    Raises:
        ConfigError: A range that is not rising, not positive or, for `scale`, above 1; a size or number below 1; an
            unknown interpolation.

    >>> tuple(RandomResizedCrop(8, 6, (0.2, 0.8), (0.75, 1.333))(torch.zeros(3, 2, 20, 30)).shape)
    (3, 2, 8, 6)
    """

    def __init__(
        self,
        target_height: int,
        target_width: int,
        scale: Sequence[float],
        aspect_ratio: Sequence[float] | None,
        shift: bool = False,
        log_uniform_ratio: bool = True,
        interpolation: str = "bilinear",
        num_tries: int = 10,
    ) -> None:
        super().__init__()
        choose(_INTERPOLATIONS, interpolation, "interpolation")
        self.target_height = as_count(target_height, "target_height")
        self.target_width = as_count(target_width, "target_width")
        self.scale = positive_range(scale, "scale", highest=1)
        self.aspect_ratio = None if aspect_ratio is None else positive_range(aspect_ratio, "aspect_ratio")
        self.shift = shift
        self.log_uniform_ratio = log_uniform_ratio
        self.interpolation = interpolation
        self.num_tries = as_count(num_tries, "num_tries")

    def forward(self, clip: Tensor) -> Tensor:
        """Return a crop of a clip (C, T, H, W), shape (C, T, target_height, target_width)."""
        first = self._draw(checked(clip))
        if not self.shift:
            return self._cut(clip, first)
        last, steps = self._draw(clip), max(clip.shape[1] - 1, 1)
        boxes = [[a + (b - a) * t // steps for a, b in zip(first, last, strict=True)] for t in range(clip.shape[1])]
        return torch.cat([self._cut(clip[:, t : t + 1], box) for t, box in enumerate(boxes)], dim=1)

    def _draw(self, clip: Tensor) -> tuple[int, int, int, int]:
        height, width = clip.shape[-2:]
        return random_box(
            height,
            width,
            scale=self.scale,
            aspect_ratio=self.aspect_ratio,
            log_uniform_ratio=self.log_uniform_ratio,
            num_tries=self.num_tries,
        )

    def _cut(self, clip: Tensor, box: Sequence[int]) -> Tensor:
        top, left, height, width = box
        crop = clip[..., top : top + height, left : left + width]
        return resize(crop, self.target_height, self.target_width, self.interpolation)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"{self.target_height} x {self.target_width}, scale={self.scale}, aspect_ratio={self.aspect_ratio}, "
            f"shift={self.shift}, log_uniform_ratio={self.log_uniform_ratio}, interpolation={self.interpolation}, "
            f"num_tries={self.num_tries}"
        )


class ShortSideScale(nn.Module):
    """Scale a clip so that its shorter side has a given length; see `scale_short_side`.

    Args:
        size: Length of the shorter side afterwards.
        interpolation: As in `resize`.

    Raises:
        ConfigError: A size below 1, or an unknown interpolation.
    """

    def __init__(self, size: int, interpolation: str = "bilinear") -> None:
        super().__init__()
        choose(_INTERPOLATIONS, interpolation, "interpolation")
        self.size = as_count(size, "size")
        self.interpolation = interpolation

    def forward(self, clip: Tensor) -> Tensor:
        """Return the scaled clip; the clip has the shape (C, T, H, W)."""
        return scale_short_side(clip, self.size, self.interpolation)


class RandomShortSideScale(nn.Module):
    """Scale a clip so that its shorter side has a length drawn from `min_size` to `max_size`.

    Args:
        min_size: Smallest length.
        max_size: Largest length, also drawn.
        interpolation: As in `resize`.

    Raises:
        ConfigError: A size below 1, sizes that are not rising, or an unknown interpolation.
    """

    def __init__(self, min_size: int, max_size: int, interpolation: str = "bilinear") -> None:
        super().__init__()
        choose(_INTERPOLATIONS, interpolation, "interpolation")
        self.min_size = as_count(min_size, "min_size")
        self.max_size = as_count(max_size, f"min_size={min_size}, max_size", at_least=min_size)
        self.interpolation = interpolation

    def forward(self, clip: Tensor) -> Tensor:
        """Return the scaled clip; the clip has the shape (C, T, H, W)."""
        return scale_short_side(clip, int(torch.randint(self.min_size, self.max_size + 1, ())), self.interpolation)


def checked(clip: Tensor) -> Tensor:
    """Return a clip (C, T, H, W).

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(clip, Tensor) or clip.ndim != 4:
        given = tuple(clip.shape) if isinstance(clip, Tensor) else f"a {type(clip).__name__}"
        hint = " Use OnlyInputListTransform for samples of several views." if isinstance(clip, list) else ""
        raise ConfigError(f"A transform of clips expects a tensor (C, T, H, W) and was given {given}.{hint}")
    return clip


def positive_range(value: Sequence[float], key: str, highest: float = math.inf) -> tuple[float, float]:
    """Return the two ends of a range.

    Args:
        value: Lowest and highest value.
        key: The configuration key that the range came from, for the message.
        highest: What the highest value must not exceed.

    Raises:
        ConfigError: Not two positive, rising numbers.
    """
    low, high = value if len(value) == 2 else (0, 0)
    if not 0 < low <= high <= highest:
        bound = "" if highest == math.inf else f", at most {highest}"
        raise ConfigError(f"{key}={list(value)!r}; expected two positive rising numbers{bound}.")
    return low, high


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()
