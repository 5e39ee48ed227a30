"""What batch transforms draw, and which samples they change.

Everything is drawn on the host from torch's global CPU generator, which the training step seeds by its address. So the
draws are the same on every device, which samples and groups there are is known without asking the device, and a step
waits for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError

_CACHE_BYTES = 2**20  # of samples that a CPU changes together
_DEVICE_BYTES = 2**28  # and any other device


def probability(p: float) -> float:
    """Return `p`.

    Raises:
        ConfigError: It is no probability.
    """
    if not 0 <= p <= 1:
        raise ConfigError(f"p={p}; expected a probability from 0 to 1.")
    return p


def draw_samples(batch_size: int, p: float) -> list[int]:
    """Draw which samples of a batch are changed: `p B` of them, rounded up or down at random so that the mean is `p B`.

    Each sample is changed with probability p, and the number that is changed hardly varies: nor do the work and the
    memory of a step. Independent draws would give the same to each sample, but steps of 30 to 70 changed samples where
    p is 0.5 and B is 100.

    Args:
        batch_size: Number of samples, B.
        p: Probability that a sample is changed.

    Returns:
        Indices of the samples, rising.
    """
    if p == 0:
        return []
    if p == 1:
        return list(range(batch_size))
    mean = p * batch_size
    number = math.floor(mean) + int(torch.rand(()).item() < mean - math.floor(mean))
    chosen: list[int] = torch.randperm(batch_size)[:number].sort().values.tolist()
    return chosen


def uniform(size: int | tuple[int, ...], low: float, high: float) -> Tensor:
    """Draw from U(low, high), on the CPU."""
    return torch.rand(size) * (high - low) + low


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor from the CPU to a device without waiting for it."""
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def pieces(batch: Tensor, samples: Sequence[int], index: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Yield the chosen samples of a batch, some at a time, to be changed in place, with their places in `samples`.

    On the CPU a piece fits in the cache, where all passes over it then happen. On a device it is much larger, so that
    there are few kernels, but not everything, which would take the memory of several batches.

    Args:
        batch: Batch, shape (B, ...).
        samples: Indices of the chosen samples, rising.
        index: The same on the device of the batch, int64.
    """
    limit = _CACHE_BYTES if batch.device.type == "cpu" else _DEVICE_BYTES
    together = max(1, limit // max(1, batch[:1].numel() * batch.element_size()))
    for start in range(0, len(samples), together):
        places = slice(start, min(start + together, len(samples)))
        first, last = samples[places][0], samples[places][-1]
        if last - first == places.stop - places.start - 1:  # they lie side by side
            yield batch[first : last + 1], places
        else:
            piece = batch.index_select(0, index[places])
            yield piece, places
            batch.index_copy_(0, index[places], piece)
