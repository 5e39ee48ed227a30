"""Shuffling batch normalisation: batches are mixed across processes before the target encodes them.

Otherwise the statistics of a process's batch tell the two views of its samples from others, and the network cheats
(MoCo, https://arxiv.org/abs/1911.05722, section 3.3, "Shuffling BN").
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from eztorch.modules.gather import gather_without_gradient
from eztorch.utils.distributed import rank, world_size


def shuffle(x: Tensor) -> tuple[Tensor, Tensor]:
    """Deal the rows of all processes anew, by a permutation that the first process draws from its global generator.

    Args:
        x: Local rows, shape (N, ...); N is the same on every process.

    Returns:
        Rows that fell to this process, shape (N, ...), detached, and what `unshuffle` needs to put them back, shape
        (world size * N,). A single process shuffles its own rows, for the sake of split batch normalisations.
    """
    permutation = torch.randperm(x.shape[0] * world_size(), device=x.device)
    if world_size() > 1:
        dist.broadcast(permutation, src=0)
    return gather_without_gradient(x)[_own(permutation)], torch.argsort(permutation)


def unshuffle(x: Tensor, restore: Tensor) -> Tensor:
    """Give each process its own rows back, in their order.

    Args:
        x: What was computed from the shuffled rows, shape (N, ...).
        restore: Second result of `shuffle`, shape (world size * N,).

    Returns:
        Rows of this process's own samples, shape (N, ...), detached.
    """
    return gather_without_gradient(x)[_own(restore)]


def _own(index: Tensor) -> Tensor:
    """Return this process's part of an index over the rows of all processes."""
    return index.view(world_size(), -1)[rank()]
