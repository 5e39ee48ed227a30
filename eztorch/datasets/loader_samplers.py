"""Which samples a process reads, and in which order.

Both samplers are `DistributedSampler`s, so Lightning leaves them as they are, and both yield addresses: what a dataset
draws for a sample depends on its address alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, DistributedSampler, Sampler

from eztorch.utils.randomness import generator, run_seed


class SampleAddress(NamedTuple):
    """Where a sample stands: its epoch and its index in the dataset."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index(), which an address has no use for


class EpochSampler(DistributedSampler[SampleAddress]):
    """The training order: every epoch a permutation of its own, dealt out to the ranks in turn.

    Rank r of W takes `permutation[r::W]`. So the batches of all ranks at a step make up the batch of a single process
    that has W times their size.

    With N folds an epoch passes N times over the data: pass `epoch * N + fold` has the permutation and the addresses
    that this epoch has without folds. So E epochs of N folds read what E * N epochs read.

    Args:
        num_samples: Length of the dataset.
        rank: Number of this process.
        world: Number of processes.
        shuffle: Permute; otherwise every epoch has the order of the dataset.
        drop_last: Where W does not divide the dataset, leave the rest out; otherwise the epoch wraps around to its
            beginning, so that every rank has the same number of samples. Both concern every pass.
        num_folds: Passes over the data in an epoch, N.

    Attributes:
        num_samples: How many samples this rank has in a pass.
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
        num_folds: int = 1,
    ) -> None:
        super().__init__(
            range(num_samples),  # type: ignore[arg-type]  # all that it is asked for is its length
            num_replicas=world,
            rank=rank,
            shuffle=shuffle,
            seed=run_seed(),
            drop_last=drop_last,
        )
        self.num_folds = num_folds
        self.start = 0

    def __iter__(self) -> Iterator[SampleAddress]:
        """Yield the addresses of this rank in the epoch that `set_epoch` was told last."""
        first = self.epoch * self.num_folds
        skipped, start = divmod(self.start, max(self.num_samples, 1))
        for number in range(first + skipped, first + self.num_folds):
            yield from self._pass(number, start)
            start = 0

    def __len__(self) -> int:
        """Return the number of samples of this rank in an epoch."""
        return self.num_folds * self.num_samples

    def _pass(self, number: int, start: int) -> Iterator[SampleAddress]:
        length = len(self.dataset)  # type: ignore[arg-type]  # a range
        order: Sequence[int] = range(length)
        if self.shuffle:
            order = torch.randperm(length, generator=generator(self.seed, number)).tolist()
        places = range(self.rank, self.total_size, self.num_replicas)
        return (SampleAddress(number, order[place % length]) for place in places[start:])


class PassBatchSampler(BatchSampler):
    """Batches that do not go beyond a pass over the data: the last of each pass may be short, or is left out.

    Args:
        sampler: An `EpochSampler`; another one is a single pass.
        batch_size: Samples of a batch.
        drop_last: Leave out a short last batch.

    >>> sampler = EpochSampler(3, shuffle=False, num_folds=2)
    >>> [[address.index for address in batch] for batch in PassBatchSampler(sampler, 2, drop_last=False)]
    [[0, 1], [2], [0, 1], [2]]
    """

    def __init__(self, sampler: Sampler[Any], batch_size: int, drop_last: bool) -> None:
        super().__init__(sampler, batch_size, drop_last)

    @property
    def num_folds(self) -> int:
        """Passes over the data in an epoch."""
        return getattr(self.sampler, "num_folds", 1)

    @property
    def batches_per_pass(self) -> int:
        """Batches of this rank in a pass."""
        samples = len(self.sampler) // self.num_folds  # type: ignore[arg-type]  # all that are given have a length
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield lists of what the sampler gives."""
        for _, samples in groupby(self.sampler, key=lambda address: getattr(address, "epoch", 0)):
            while batch := list(islice(samples, self.batch_size)):
                if len(batch) == self.batch_size or not self.drop_last:
                    yield batch

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.num_folds * self.batches_per_pass

    def skip(self, batches: int) -> None:
        """Leave out the first batches of an epoch in the next iterations."""
        if isinstance(self.sampler, EpochSampler):
            passes, rest = divmod(batches, max(self.batches_per_pass, 1))
            self.sampler.start = passes * self.sampler.num_samples + rest * self.batch_size


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
