"""Which patches of a grid are hidden, in blocks: BEiT, https://arxiv.org/abs/2106.08254 (algorithm 1)."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ASPECT = 0.3  # of a block, height by width, at least; at most the inverse
_TRIES = 10  # to place a block


def block_mask(height: int, width: int, count: int, draws: random.Random) -> NDArray[np.bool_]:
    """Hide patches in blocks until there are as many as are asked for.

    Where no further block fits, single patches fill up the number.

    Args:
        height: Patches along the height.
        width: Patches along the width.
        count: Patches to hide, at most all.
        draws: Source of the areas, shapes and places.

    Returns:
        Shape (height, width), true where a patch is hidden.
    """
    mask = np.zeros((height, width), dtype=bool)
    smallest = (min(height, width) // 3) ** 2
    hidden, tries = 0, 0
    while hidden < count and tries < _TRIES:
        tries += 1
        area = draws.uniform(min(smallest, count - hidden), count - hidden)
        aspect = math.exp(draws.uniform(math.log(_ASPECT), -math.log(_ASPECT)))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if not (0 < rows <= height and 0 < columns <= width):
            continue
        top, left = draws.randint(0, height - rows), draws.randint(0, width - columns)
        block = mask[top : top + rows, left : left + columns]
        if 0 < (more := block.size - int(block.sum())) <= count - hidden:
            block[:] = True
            hidden, tries = hidden + more, 0
    left_over = np.flatnonzero(~mask).tolist()
    mask.reshape(-1)[draws.sample(left_over, count - hidden)] = True
    return mask


def draw_hidden(grid: Sequence[int], seeds: Sequence[int], *, prob: float, ratio: tuple[float, float]) -> Tensor:
    """Draw the hidden patches of samples; of a clip the same places at all times.

    Args:
        grid: Patches along each side: (height, width) or (time, height, width).
        seeds: Of the draws of each of the B samples.
        prob: Probability that anything of a sample is hidden.
        ratio: Smallest and largest share of its patches that then is, drawn uniformly.

    Returns:
        Indices of the hidden patches of each sample, rising, then -1 up to the largest number M that there may be;
        int64, shape (B, M), on the CPU.

    >>> draw_hidden((2, 2), [0, 1], prob=1.0, ratio=(0.25, 0.5)).shape
    torch.Size([2, 2])
    """
    *times, height, width = grid
    frames = math.prod(times)
    places = np.full((len(seeds), int(ratio[1] * height * width) * frames), -1, dtype=np.int64)
    for row, seed in zip(places, seeds, strict=True):
        draws = random.Random(seed)
        if draws.random() >= prob:
            continue
        mask = block_mask(height, width, int(draws.uniform(*ratio) * height * width), draws)
        hidden = np.flatnonzero(np.broadcast_to(mask, (frames, height, width)))
        row[: len(hidden)] = hidden
    return torch.from_numpy(places)
