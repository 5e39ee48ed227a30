"""Randomness that is addressed, not carried.

What is drawn for a sample depends on (run seed, epoch, sample index), what is drawn in a step on
(run seed, epoch, batch index, rank). So a run gives the same numbers with any number of loader workers, and a
resumed run needs its position alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Lightning's `seed_everything` leaves the seed here, also for the processes that it starts.
_SEED_VARIABLE = "PL_GLOBAL_SEED"


def run_seed() -> int:
    """Return the seed of the run: what `seed_everything` was called with, 0 when it was not called."""
    return int(os.environ.get(_SEED_VARIABLE, 0))


def address_seed(*address: int) -> int:
    """Hash an address, a sequence of non-negative integers, to a seed of 63 bits.

    >>> address_seed(42, 0, 7) == address_seed(42, 0, 7)
    True
    >>> address_seed(42, 0, 7) == address_seed(42, 7, 0)
    False
    """
    return int(np.random.SeedSequence(address).generate_state(1, np.uint64)[0] >> 1)


def generator(*address: int) -> torch.Generator:
    """Return a CPU generator seeded by an address."""
    return torch.Generator().manual_seed(address_seed(*address))


def seed_everything_at(*address: int, device: torch.device | None = None) -> None:
    """Seed python, numpy and torch (CPU and, when it is one, the CUDA `device`) by an address, without a sync."""
    seed = address_seed(*address)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


@contextmanager
def addressed_randomness(*address: int) -> Iterator[None]:
    """Seed the global CPU generators by an address inside the block and put them back after it.

    Transforms of other libraries draw from the global generators; inside this block they are as repeatable as ours.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        seed_everything_at(*address)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
