from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler

from eztorch.datasets import EpochSampler, PassBatchSampler, SampleAddress, ShardSampler


def epoch_of(sampler: EpochSampler, epoch: int = 0) -> list[int]:
    sampler.set_epoch(epoch)
    addresses = list(sampler)
    assert len(addresses) == len(sampler)
    assert {address.epoch for address in addresses} <= {epoch}
    return [address.index for address in addresses]


def test_epoch_sampler__permutes_every_epoch_anew_and_again_the_same():
    orders = [epoch_of(EpochSampler(20), epoch) for epoch in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
    assert orders[0] != list(range(20))


def test_epoch_sampler__takes_its_order_from_the_seed_of_the_run(monkeypatch):
    orders = []
    for seed in ("1", "2", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        orders.append(epoch_of(EpochSampler(20)))
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("world", [2, 3])
def test_epoch_sampler__batches_of_all_ranks_make_up_the_batch_of_one_process(world):
    def batches(rank, processes, size):
        sampler = EpochSampler(25, rank=rank, world=processes, drop_last=True)
        return [{address.index for address in batch} for batch in BatchSampler(sampler, size, drop_last=True)]

    single = batches(0, 1, 6)
    ranks = [batches(rank, world, 6 // world) for rank in range(world)]
    assert len(single) == 4
    assert [set.union(*parts) for parts in zip(*ranks, strict=True)] == single


@pytest.mark.parametrize(("length", "world"), [(10, 3), (2, 5), (6, 3), (1, 4)])
def test_epoch_sampler__wraps_around_so_that_ranks_are_equally_long(length, world):
    ranks = [epoch_of(EpochSampler(length, rank=rank, world=world)) for rank in range(world)]
    order = epoch_of(EpochSampler(length))
    assert {len(indices) for indices in ranks} == {-(-length // world)}
    together = [index for step in zip(*ranks, strict=True) for index in step]
    assert together == [order[place % length] for place in range(len(together))]


@pytest.mark.parametrize(("length", "world", "expected"), [(10, 3, 3), (2, 5, 0), (6, 3, 2)])
def test_epoch_sampler__can_leave_the_rest_out(length, world, expected):
    ranks = [epoch_of(EpochSampler(length, rank=rank, world=world, drop_last=True)) for rank in range(world)]
    assert [len(indices) for indices in ranks] == [expected] * world
    assert len(set().union(*ranks)) == expected * world


def test_epoch_sampler__without_shuffle_has_the_order_of_the_dataset():
    assert epoch_of(EpochSampler(5, shuffle=False), 3) == [0, 1, 2, 3, 4]


def test_epoch_sampler__continues_in_the_middle_of_an_epoch():
    whole, rest = EpochSampler(11, rank=1, world=2), EpochSampler(11, rank=1, world=2)
    rest.start = 4
    assert list(rest) == list(whole)[4:]
    assert len(rest) == len(whole)


@pytest.mark.parametrize(("length", "world"), [(10, 3), (2, 5), (1, 1)])
def test_shard_sampler__reads_every_sample_once_whatever_the_epoch(length, world):
    shards = []
    for rank in range(world):
        sampler = ShardSampler(length, rank=rank, world=world)
        sampler.set_epoch(5)
        shards.append(list(sampler))
        assert len(shards[-1]) == len(sampler)
    assert sorted(chain.from_iterable(shards)) == [SampleAddress(0, index) for index in range(length)]


@pytest.mark.parametrize("sampler", [EpochSampler(3), ShardSampler(3)])
def test_loader_samplers__are_what_lightning_leaves_alone(sampler):
    before = torch.get_rng_state()
    list(sampler)
    assert isinstance(sampler, DistributedSampler)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world", [1, 2])
def test_folds__of_an_epoch_are_the_epochs_without_them(world, drop_last):
    def batches(rank, epochs, folds):
        sampler = EpochSampler(11, rank=rank, world=world, drop_last=drop_last, num_folds=folds)
        loader = PassBatchSampler(sampler, 2, drop_last)
        read = []
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            read.append(list(loader))
            assert len(read[-1]) == len(loader)
            assert len(list(sampler)) == len(sampler)
        return list(chain.from_iterable(read))

    for rank in range(world):
        assert batches(rank, 2, 3) == batches(rank, 6, 1)


@pytest.mark.parametrize("drop_last", [True, False])
def test_folds__continue_in_the_middle_of_an_epoch(drop_last):
    whole = list(PassBatchSampler(EpochSampler(11, num_folds=3), 4, drop_last))
    assert len(whole) == (6 if drop_last else 9)
    for position in range(len(whole) + 1):
        rest = PassBatchSampler(EpochSampler(11, num_folds=3), 4, drop_last)
        rest.skip(position)
        assert list(rest) == whole[position:]
