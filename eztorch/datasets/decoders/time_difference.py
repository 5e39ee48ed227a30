"""Clips of differences between successive frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eztorch.datasets.decoders.timeline import Numbers


def difference_pairs(indices: Numbers, num_frames: int) -> tuple[Numbers, Numbers]:
    """Return which two frames of the video make the difference of each kept frame: itself and its successor.

    The last frame of a video has none and repeats the difference before it; in a video of one frame nothing moves.

    >>> difference_pairs(np.array([0, 1, 9]), 10)
    (array([0, 1, 8]), array([1, 2, 9]))
    >>> difference_pairs(np.array([0]), 1)
    (array([0]), array([0]))
    """
    minuends = np.minimum(indices, max(num_frames - 2, 0))
    return minuends, np.minimum(minuends + 1, num_frames - 1)


def time_difference(minuends: Tensor, subtrahends: Tensor) -> Tensor:
    """Return (x[t] - x[t+1] + 255) / 2 of the grey pictures x (luma of ITU-R BT.601), with three equal channels.

    Args:
        minuends: Frames x[t], shape (C, T, H, W), 0 to 255.
        subtrahends: Frames x[t+1], same shape.

    Returns:
        float32, shape (3, T, H, W), 0 to 255; 127.5 where nothing moves.
    """
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)
    difference = (minuends.float() * weights).sum(0) - (subtrahends.float() * weights).sum(0)
    return ((difference + 255) / 2).expand(3, -1, -1, -1).contiguous()
