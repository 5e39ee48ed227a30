"""Rows of all processes on every process, with and without gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from eztorch.utils.distributed import rank, world_size


def gather_without_gradient(x: Tensor) -> Tensor:
    """Concatenate the rows of all processes in the order of the ranks, detached.

    Args:
        x: Local rows, shape (N, ...); N is the same on every process.

    Returns:
        All rows, shape (world size * N, ...), the same on every process; `x` itself, detached, on a single process.
    """
    x = x.detach()
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def gather_with_gradient(x: Tensor) -> Tensor:
    """Concatenate the rows of all processes in the order of the ranks; gradients come back from every process.

    The gradient of a local row is the sum of the gradients that all processes have for it, which is what autograd gives
    for the sum of their losses on the concatenated batch. `DistributedDataParallel` averages the gradients of
    parameters over processes, which makes it the gradient of the mean of their losses.

    Args:
        x: Local rows, shape (N, ...); N is the same on every process.

    Returns:
        All rows, shape (world size * N, ...), the same on every process; `x` itself on a single process.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def sum_over_processes(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, detached, the same on every one; x itself on a single process."""
    x = x.detach()
    if world_size() == 1:
        return x
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        return gather_without_gradient(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.rows : (rank() + 1) * ctx.rows]
