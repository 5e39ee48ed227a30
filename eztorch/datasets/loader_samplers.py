"""Which samples a process reads, and in which order.

Both samplers are `DistributedSampler`s, so Lightning leaves them as they are, and both yield addresses: what a dataset
draws for a sample depends on its address alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DistributedSampler

from eztorch.utils.randomness import generator, run_seed


class SampleAddress(NamedTuple):
    """Where a sample stands: its epoch and its index in the dataset."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index(), which an address has no use for


class EpochSampler(DistributedSampler[SampleAddress]):
    """The training order: every epoch a permutation of its own, dealt out to the ranks in turn.

    Rank r of W takes `permutation[r::W]`. So the batches of all ranks at a step make up the batch of a single process
    that has W times their size.

    Args:
        num_samples: Length of the dataset.
        rank: Number of this process.
        world: Number of processes.
        shuffle: Permute; otherwise every epoch has the order of the dataset.
        drop_last: Where W does not divide the dataset, leave the rest out; otherwise the epoch wraps around to its
            beginning, so that every rank has the same number of samples.

    Attributes:
        start: How many samples of this rank an iteration leaves out at its beginning: the position of a run that
            continues in the middle of an epoch. The length does not count it.

    >>> sampler = EpochSampler(4, shuffle=False, rank=1, world=2)
    >>> sampler.set_epoch(7)
    >>> list(sampler)
    [SampleAddress(epoch=7, index=1), SampleAddress(epoch=7, index=3)]
    """

    def __init__(
        self,
        num_samples: int,
        *,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        super().__init__(
            range(num_samples),  # type: ignore[arg-type]  # all that it is asked for is its length
            num_replicas=world,
            rank=rank,
            shuffle=shuffle,
            seed=run_seed(),
            drop_last=drop_last,
        )
        self.start = 0

    def __iter__(self) -> Iterator[SampleAddress]:
        """Yield the addresses of this rank in the epoch that `set_epoch` was told last."""
        length, epoch = len(self.dataset), self.epoch  # type: ignore[arg-type]  # a range
        order = torch.randperm(length, generator=generator(self.seed, epoch)) if self.shuffle else torch.arange(length)
        places = range(self.rank, self.total_size, self.num_replicas)
        return (SampleAddress(epoch, int(order[place % length])) for place in places[self.start :])


class ShardSampler(DistributedSampler[SampleAddress]):
    """The order of evaluation: rank r of W takes every W-th sample from r on; none is repeated and none left out.

    The addresses are those of epoch 0 whatever the epoch, so an evaluation draws the same whenever it runs.

    Args:
        num_samples: Length of the dataset.
        rank: Number of this process.
        world: Number of processes.

    >>> list(ShardSampler(5, rank=1, world=2))
    [SampleAddress(epoch=0, index=1), SampleAddress(epoch=0, index=3)]
    """

    def __init__(self, num_samples: int, *, rank: int = 0, world: int = 1) -> None:
        super().__init__(range(num_samples), num_replicas=world, rank=rank, shuffle=False)  # type: ignore[arg-type]
        self.shard = range(rank, num_samples, world)

    def __iter__(self) -> Iterator[SampleAddress]:
        """Yield the addresses of this rank."""
        return (SampleAddress(0, index) for index in self.shard)

    def __len__(self) -> int:
        """Return the number of samples of this rank."""
        return len(self.shard)
