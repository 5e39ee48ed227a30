"""Arithmetic of frame numbers: where clips start, and which frames they have. Frames are numbered from 0."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

IntArray: TypeAlias = "NDArray[np.int64]"


def repeats(total: int, wanted: int) -> int:
    """Return how often each frame of a video has to be shown for it to have at least the wanted number of frames.

    Args:
        total: Number of frames of the video.
        wanted: Number of frames that are needed.

    >>> repeats(10, 29), repeats(29, 29), repeats(100, 29)
    (3, 1, 1)
    """
    return max(-(-wanted // total), 1)


def even_start(room: int, index: int, num_clips: int) -> int:
    """Return where one of several clips starts that are spread evenly: the first at 0, the last at `room`.

    A single clip lies in the middle. Rounded from a float, halves to even, as PyVideoAI does.

    Args:
        room: The last start at which a clip still fits.
        index: Number of the clip.
        num_clips: Number of clips.

    >>> [even_start(71, index, 4) for index in range(4)], even_start(71, 0, 1)
    ([0, 24, 47, 71], 36)
    """
    return (room + 1) // 2 if num_clips == 1 else round(room / (num_clips - 1) * index)


def sliding_starts(room: int, stride: int, *, shift_tail: bool = False) -> list[int]:
    """Return where sliding windows start: at every stride, as long as a whole window fits.

    Args:
        room: The last start at which a window still fits.
        stride: Distance of the starts.
        shift_tail: Whether a last window at `room` takes the frames behind the last of those.

    >>> sliding_starts(7, 3), sliding_starts(7, 3, shift_tail=True), sliding_starts(6, 3, shift_tail=True)
    ([0, 3, 6], [0, 3, 6, 7], [0, 3, 6])
    """
    starts = list(range(0, room + 1, stride))
    return [*starts, room] if shift_tail and starts[-1] < room else starts


def strided(start: int, num_frames: int, rate: int) -> IntArray:
    """Return `num_frames` numbers from `start` on, `rate` apart.

    >>> strided(5, 4, 2)
    array([ 5,  7,  9, 11])
    """
    return start + rate * np.arange(num_frames, dtype=np.int64)


def with_neighbours(indices: IntArray, neighbours: int, total: int) -> IntArray:
    """Put the frames that follow each frame behind it; the last frame of the video follows itself.

    Args:
        indices: Frame numbers, shape (N,).
        neighbours: How many consecutive frames each of them becomes, itself the first.
        total: Number of frames of the video.

    Returns:
        Shape (N * neighbours,).

    >>> with_neighbours(np.array([0, 8]), 3, 10)
    array([0, 1, 2, 8, 9, 9])
    """
    followed: IntArray = indices[:, None] + np.arange(neighbours)
    return np.minimum(followed, total - 1).ravel()


def segment_bounds(total: int, num_segments: int) -> IntArray:
    """Return where the segments of a video start when it is cut into equal parts, and its end behind them.

    Returns:
        floor(total i / n), shape (n + 1,).

    >>> segment_bounds(10, 4)
    array([ 0,  2,  5,  7, 10])
    """
    return total * np.arange(num_segments + 1, dtype=np.int64) // num_segments


def random_below(bound: int | IntArray, size: int, generator: torch.Generator | None) -> IntArray:
    """Draw whole numbers evenly from 0 to below a bound, which may differ for each of them.

    Args:
        bound: The bounds, at least 1.
        size: How many.
        generator: Where they are drawn from.

    Returns:
        Shape (size,).
    """
    drawn = torch.rand(size, dtype=torch.float64, generator=generator).numpy()
    return np.asarray(drawn * bound, dtype=np.int64)
