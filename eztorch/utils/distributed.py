"""Facts about the process group, and the few collectives that take tensors of unequal length."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def is_distributed() -> bool:
    """Say whether a process group is up."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Return the number of processes, 1 without a process group."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Return the rank of this process, 0 without a process group."""
    return dist.get_rank() if is_distributed() else 0


def local_batch_size(global_batch_size: int, world: int, key: str = "global_batch_size") -> int:
    """Divide a global batch among the processes.

    Raises:
        ConfigError: The world size does not divide the batch; the message names both numbers.

    >>> local_batch_size(512, 8)
    64
    """
    from eztorch.utils.errors import ConfigError

    if global_batch_size < 1 or global_batch_size % world:
        below, above = global_batch_size // world * world, -(-global_batch_size // world) * world
        raise ConfigError(
            f"{key}={global_batch_size} cannot be divided among {world} processes; "
            f"use a multiple of {world}, for example {' or '.join(str(n) for n in (below, above) if n)}."
        )
    return global_batch_size // world


def all_gather_uneven(tensor: Tensor) -> Tensor:
    """Concatenate the tensors of all ranks along dimension 0, in the order of the ranks, without gradients.

    Args:
        tensor: Local rows, shape (N_rank, ...); N may differ between ranks and may be 0.

    Returns:
        All rows, shape (sum of N, ...), the same on every rank.
    """
    if world_size() == 1:
        return tensor
    length = torch.tensor([tensor.shape[0]], device=tensor.device)
    lengths = [torch.zeros_like(length) for _ in range(world_size())]
    dist.all_gather(lengths, length)
    sizes = [int(n) for n in lengths]
    padded = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
    padded[: tensor.shape[0]] = tensor
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])


def all_gather_rows(rows: Tensor, device: torch.device) -> Tensor:
    """Return the rows of all processes on the host; a process without rows need not know how long they are.

    Args:
        rows: Shape (N,) or (N, C); N and, where N is 0, C may differ between processes.
        device: Of the process group.
    """
    if world_size() == 1:
        return rows.cpu()
    if rows.ndim == 2:
        width = int(all_gather_uneven(torch.tensor([rows.shape[1]], device=device)).max())
        rows = rows if len(rows) else rows.new_empty(0, width)
    return all_gather_uneven(rows.to(device)).cpu()


def all_gather_list(items: list[T]) -> list[T]:
    """Return the items of all ranks in the order of the ranks, the same on every rank; they are pickled on the way."""
    if world_size() == 1:
        return items
    parts: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]
