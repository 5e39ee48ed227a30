"""Clips of camera motions that are made of stills, with the motions as classes: MoSI (arXiv 2104.00240).

B stills, N motions, C channels, T frames. A speed is a number from -K to K on each axis: K crosses the whole still from
the first frame to the last, K / 2 half of it, and so on. Where it is positive, the crop moves to the right or down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import final

import torch
from torch import Tensor, nn

from eztorch.transforms.batch.base import checked
from eztorch.transforms.batch.draws import send, uniform
from eztorch.transforms.on_list import Transform, as_module
from eztorch.transforms.video.spatial import positive_range
from eztorch.utils.errors import ConfigError


def motion_classes(max_speed: int, *, decoupled: bool = True) -> list[tuple[int, int]]:
    """Return the speeds (x, y) of all motions.

    Args:
        max_speed: Highest speed, K.
        decoupled: Move along one axis at a time: 2 K motions along x, 2 K along y, and none, which is the last.
            Otherwise every pair of speeds, (2 K + 1)^2 of them.

    >>> motion_classes(1)
    [(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)]
    """
    every = range(-max_speed, max_speed + 1)
    if not decoupled:
        return list(product(every, every))
    moving = [speed for speed in every if speed]
    return [*((speed, 0) for speed in moving), *((0, speed) for speed in moving), (0, 0)]


def crop_positions(speeds: Tensor, max_speed: int, room: int, num_frames: int, places: Tensor) -> Tensor:
    """Return where the crops of motions begin along one axis, in integers throughout.

    From the first frame to the last, a crop travels `room |speed| / max_speed` pixels at an even pace, rounded down;
    the stretch that it travels lies anywhere in the side.

    Args:
        speeds: Speeds along the axis, int64, shape (N,).
        max_speed: Highest speed, K.
        room: Length of the side without that of the crop.
        num_frames: T, at least 2.
        places: Where the stretches lie, from 0, at the start of the side, to below 1; float64, shape (B, N).

    Returns:
        First pixel of every crop, from 0 to `room`, int64, shape (B, N, T).

    >>> crop_positions(torch.tensor([2, -1]), 2, 8, 5, torch.tensor([[0.0, 0.5]], dtype=torch.float64))
    tensor([[[0, 2, 4, 6, 8],
             [6, 5, 4, 3, 2]]])
    """
    distance = room * speeds.abs() // max_speed
    first = (places * (room - distance + 1)).long()
    travelled = distance[:, None] * torch.arange(num_frames) // (num_frames - 1)
    backwards = speeds[:, None] < 0
    return first[:, :, None] + torch.where(backwards, distance[:, None] - travelled, travelled)


def take_crops(stills: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Cut crops from stills.

    Args:
        stills: Stills, shape (B, C, H, W).
        top: First row of each crop, int64, shape (B, ...).
        left: First column of each crop, the same.
        height: Height of a crop.
        width: Width of a crop.

    Returns:
        Crops, shape (B, ..., C, height, width).
    """
    windows = stills.unfold(2, height, 1).unfold(3, width, 1)  # a view: a window for every place
    still = torch.arange(len(stills), device=stills.device).view(-1, *[1] * (top.ndim - 1))
    return windows[still, :, top, left]


def freeze_outside(clips: Tensor, frame: Tensor, boxes: Tensor) -> Tensor:
    """Let clips move inside a box alone; around it stands one of their frames. This is MoSI's static mask.

    Args:
        clips: Clips, shape (M, C, T, H, W).
        frame: Number of the frame that stands, int64, shape (M,).
        boxes: Top, left, height and width of each box, int64, shape (M, 4).
    """
    rows, columns = (torch.arange(side, device=clips.device) for side in clips.shape[-2:])
    top, left, height, width = boxes[:, :, None].unbind(1)
    inside_rows = (rows >= top) & (rows < top + height)
    inside_columns = (columns >= left) & (columns < left + width)
    inside = (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None, None]
    standing = clips[torch.arange(len(clips), device=clips.device), :, frame]
    return torch.where(inside, clips, standing[:, :, None])


def draw_boxes(number: int, height: int, width: int, ratio: tuple[float, float]) -> Tensor:
    """Draw boxes whose sides are a share of those of the frame, drawn from U(ratio), at a random place.

    Returns:
        Top, left, height and width of each box, int64, shape (number, 4), on the CPU.
    """
    sides = torch.tensor([height, width])
    box = (uniform((number, 1), *ratio).double() * sides).long().clamp(min=1)
    corner = (torch.rand(number, 2, dtype=torch.float64) * (sides - box + 1)).long()
    return torch.cat([corner, box], dim=1)


@final
class PseudoMotions(nn.Module):
    """Make a clip of every pseudo motion from each still: `MoSIModel` tells them apart.

    Everything is drawn on the host, all motions are cut by one gather, and nothing waits for the device.

    Attributes:
        max_speed: Highest speed, K.
        speeds: Speeds (x, y) of the N motions, see `motion_classes`; motion n of the output is class n.

    Args:
        size: Height and width of the clips, or one number for both. The stills are larger, by K pixels at least.
        num_frames: Frames of a clip, T.
        max_speed: Highest speed, K.
        decoupled: Whether motions are along one axis at a time.
        mask_ratio: Range of the sides of the box that moves, as shares of the frame's; around it stands a random frame.
            None lets everything move.
        still_transform: Batch transform of the stills (B, C, H, W), before they move.
        clip_transform: Batch transform of the clips (B N, C, T, H, W), before a part of them is made to stand.

    Raises:
        ConfigError: A size, a number of frames or a speed that is too low, or a range that is none; when called, stills
            that leave too little room.

    >>> motions = PseudoMotions(8, num_frames=4, max_speed=2)
    >>> tuple(motions(torch.zeros(5, 3, 12, 16)).shape)
    (5, 9, 3, 4, 8, 8)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        num_frames: int = 16,
        max_speed: int = 2,
        *,
        decoupled: bool = True,
        mask_ratio: Sequence[float] | None = (0.3, 0.5),
        still_transform: Transform | None = None,
        clip_transform: Transform | None = None,
    ) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2 or min(sides) < 1 or num_frames < 2 or max_speed < 1:
            raise ConfigError(
                f"size={size}, num_frames={num_frames}, max_speed={max_speed}; expected at least 1 (or height and "
                "width), 2 and 1."
            )
        self.size = sides
        self.num_frames = num_frames
        self.max_speed = max_speed
        self.speeds = motion_classes(max_speed, decoupled=decoupled)
        self.mask_ratio = None if mask_ratio is None else positive_range(mask_ratio, "mask_ratio", highest=1)
        self.still_transform = nn.Identity() if still_transform is None else as_module(still_transform)
        self.clip_transform = nn.Identity() if clip_transform is None else as_module(clip_transform)

    def forward(self, batch: Tensor) -> Tensor:
        """Return clips, shape (B, N, C, T, height, width), motion n of them with the speeds `speeds[n]`.

        Args:
            batch: Stills, shape (B, C, H, W), or clips, shape (B, C, T', H, W), of which a random frame is the still.
        """
        stills: Tensor = self.still_transform(_stills(checked(batch)))
        (rows, columns), (height, width) = stills.shape[-2:], self.size
        if min(rows - height, columns - width) < self.max_speed:
            raise ConfigError(
                f"Stills of {rows} x {columns} leave crops of {height} x {width} too little room: max_speed="
                f"{self.max_speed} speeds differ with {self.max_speed} pixels more on each side."
            )
        corners = torch.stack(
            [self._positions(1, rows - height, len(stills)), self._positions(0, columns - width, len(stills))]
        )
        top, left = send(corners, stills.device)
        crops = take_crops(stills, top, left, height, width)  # (B, N, T, C, height, width)
        clips: Tensor = self.clip_transform(crops.flatten(0, 1).transpose(1, 2))
        if self.mask_ratio is not None:
            frame = send(torch.randint(self.num_frames, (len(clips),)), clips.device)
            boxes = send(draw_boxes(len(clips), height, width, self.mask_ratio), clips.device)
            clips = freeze_outside(clips, frame, boxes)
        motions: Tensor = clips.contiguous().unflatten(0, (len(stills), len(self.speeds)))
        return motions

    def _positions(self, axis: int, room: int, number: int) -> Tensor:
        speeds = torch.tensor([speed[axis] for speed in self.speeds])
        places = torch.rand(number, len(self.speeds), dtype=torch.float64)
        return crop_positions(speeds, self.max_speed, room, self.num_frames, places)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"size={self.size}, num_frames={self.num_frames}, max_speed={self.max_speed}, {len(self.speeds)} motions, "
            f"mask_ratio={self.mask_ratio}"
        )


def _stills(batch: Tensor) -> Tensor:
    """Return a random frame of each clip, and images as they are, shape (B, C, H, W)."""
    if batch.ndim == 4:
        return batch
    frame = send(torch.randint(batch.shape[2], (len(batch),)), batch.device)
    return batch[torch.arange(len(batch), device=batch.device), :, frame]
