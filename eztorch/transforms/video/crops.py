"""Squares of a clip `(C, T, H, W)` at given places: the crops of evaluation, and corner crops for training.

A place is `cc` (centre), `ll` or `rr` (start or end of the longer side: left and right, of upright frames top and
bottom), or a corner: `tl`, `tr`, `bl`, `br`. With `_flip` behind it the square is mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.transforms.on_dict import value_of
from eztorch.transforms.video.spatial import checked, positive_range, resize
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_CORNERS = ("tl", "tr", "bl", "br")
_SINGLE = ("cc", "ll", "rr", *_CORNERS)
PLACES = {place: place for place in (*_SINGLE, *(f"{place}_flip" for place in _SINGLE))}
"""The places that there are."""

CROP_ORDERS: dict[str, tuple[str, ...]] = {
    "three": ("ll", "cc", "rr"),
    "centre_first": _SINGLE,
    "five": ("cc", *_CORNERS),
    "ten": ("cc", *_CORNERS, "cc_flip", *(f"{place}_flip" for place in _CORNERS)),
}
"""Orders in which the augmentations of a clip take places: `three` is pytorchvideo's, `centre_first` EssentialMC2's,
its first three also PyVideoAI's; `five` and `ten` are the classic ones of image recognition."""


def crop_at(clip: Tensor, size: int, place: str) -> Tensor:
    """Cut a square at a place of a clip.

    Args:
        clip: Clip, shape (C, T, H, W).
        size: Side of the square.
        place: One of `PLACES`.

    Returns:
        Clip, shape (C, T, size, size).

    Raises:
        ConfigError: Another place, or a clip smaller than the square.

    >>> frame = torch.arange(12).view(1, 1, 2, 6)
    >>> [crop_at(frame, 2, place)[0, 0, 0].tolist() for place in ("ll", "cc", "rr", "rr_flip")]
    [[0, 1], [2, 3], [4, 5], [5, 4]]
    """
    where = choose(PLACES, place, "the place of a crop")
    height, width = checked(clip).shape[-2:]
    if min(height, width) < size:
        raise ConfigError(f"A crop of {size} x {size} does not fit in frames of {height} x {width}; scale them first.")
    down, right = height - size, width - size
    top, left = math.ceil(down / 2), math.ceil(right / 2)
    side = where[:2]
    if side in _CORNERS:
        top, left = (0 if side[0] == "t" else down), (0 if side[1] == "l" else right)
    elif side != "cc" and height > width:
        top = 0 if side == "ll" else down
    elif side != "cc":
        left = 0 if side == "ll" else right
    square = clip[..., top : top + size, left : left + size]
    return square.flip(-1) if where.endswith("_flip") else square


def uniform_crop(clip: Tensor, size: int, position: int, crops: Sequence[str] = CROP_ORDERS["three"]) -> Tensor:
    """Cut the square that is number `position` of an order of crops; see `crop_at`.

    Args:
        clip: Clip, shape (C, T, H, W).
        size: Side of the square.
        position: Number of the crop, from 0.
        crops: Their places; by default 0 is left (top where H > W), 1 the centre, 2 right (bottom).

    Returns:
        Clip, shape (C, T, size, size).

    Raises:
        ConfigError: Another position, or a clip smaller than the square.
    """
    if not 0 <= position < len(crops):
        raise ConfigError(
            f"The position of a crop is {position!r}; expected {', '.join(map(str, range(len(crops))))} for the crops "
            f"{', '.join(crops)}, so at most {len(crops)} augs_per_clip."
        )
    return crop_at(clip, size, crops[position])


class UniformCropVideo(nn.Module):
    """Cut the square that belongs to the augmentation of a sample; see `uniform_crop`.

    Args:
        size: Side of the square.
        video_key: Key of the clip, shape (C, T, H, W).
        aug_index_key: Key of the number of the crop.
        crops: Name of one of `CROP_ORDERS`, or a list of places.

    Raises:
        ConfigError: An order or place that there is not.
    """

    def __init__(
        self,
        size: int,
        video_key: str = "input",
        aug_index_key: str = "aug_index",
        crops: str | Sequence[str] = "three",
    ) -> None:
        super().__init__()
        self.size = size
        self.video_key = video_key
        self.aug_index_key = aug_index_key
        order = choose(CROP_ORDERS, crops, "crops") if isinstance(crops, str) else crops
        self.crops = tuple(choose(PLACES, place, "the place of a crop") for place in order)

    def forward(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sample with the square in the place of its clip."""
        clip, position = value_of(sample, self.video_key), value_of(sample, self.aug_index_key)
        return {**sample, self.video_key: uniform_crop(clip, self.size, position, self.crops)}

    def extra_repr(self) -> str:
        """Show the size and the places."""
        return f"{self.size}, video_key={self.video_key!r}, crops={self.crops}"


class RandomCornerCrop(nn.Module):
    """Cut a square of a random size from a corner or the centre and scale it (Wang et al., arXiv 1507.02159).

    Args:
        size: Side afterwards.
        scales: Sides to draw from, as shares of the shorter side of the frames.
        interpolation: As in `resize`.

    Raises:
        ConfigError: A size below 1, or scales that do not lie in (0, 1].
    """

    def __init__(
        self, size: int, scales: Sequence[float] = (1.0, 0.875, 0.75, 0.66), interpolation: str = "bilinear"
    ) -> None:
        super().__init__()
        if size < 1 or not scales:
            raise ConfigError(f"size={size}, scales={list(scales)}; expected a size of at least 1, and a scale.")
        positive_range((min(scales), max(scales)), "scales", highest=1)
        self.size = size
        self.scales = tuple(scales)
        self.interpolation = interpolation

    def forward(self, clip: Tensor) -> Tensor:
        """Return a square of a clip (C, T, H, W), shape (C, T, size, size)."""
        scale = self.scales[int(torch.randint(len(self.scales), ()))]
        place = CROP_ORDERS["five"][int(torch.randint(5, ()))]
        side = max(1, round(min(checked(clip).shape[-2:]) * scale))
        return resize(crop_at(clip, side, place), self.size, self.size, self.interpolation)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.size}, scales={self.scales}, interpolation={self.interpolation!r}"
