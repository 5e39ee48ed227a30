from __future__ import annotations

import gc
import os

import pytest
import torch
from torch import multiprocessing
from torch.utils.data import DataLoader, Dataset

from eztorch.datasets import collate, sending
from eztorch.utils.errors import DataError

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="files in memory are Linux's")

# Large ones go through a file, small ones with the message.
TENSORS = {
    "channels_last": torch.arange(4 * 96 * 120 * 3).to(torch.uint8).view(4, 96, 120, 3).permute(3, 0, 1, 2),
    "contiguous": torch.arange(3 * 50 * 501).float().view(3, 50, 501),
    "odd": torch.arange(70001, dtype=torch.uint8),
    "half": torch.linspace(0, 1, 50001).bfloat16(),
    "strided": torch.arange(40000).view(200, 200)[::2, 1::3],
    "expanded": torch.arange(300).view(300, 1).expand(300, 200),
    "bools": torch.arange(80000) % 3 == 0,
    "small": torch.arange(12).view(3, 4).t(),
    "scalar": torch.tensor(1.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
}


class Samples(Dataset):
    """Samples whose values depend on their index."""

    def __init__(self, fault=None):
        self.fault = fault

    def __len__(self):
        return 6

    def __getitem__(self, index):
        sample = {name: tensor if tensor.dtype == torch.bool else tensor + index for name, tensor in TENSORS.items()}
        views = [sample["channels_last"], sample["contiguous"]]
        more = {"views": views, "idx": index, "time": index / 2, "flag": index > 2, "video_name": f"v{index}"}
        if self.fault and index == 3:
            sample["contiguous"] = torch.zeros(2)
        return sample | more


def batches(**options):
    return list(DataLoader(Samples(), batch_size=3, collate_fn=collate, **options))


def assert_same(received, expected):
    assert len(received) == len(expected)
    for one, other in zip(received, expected, strict=True):
        assert one.keys() == other.keys()
        assert one.pop("video_name") == other.pop("video_name")
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        for name in TENSORS:
            assert one[name].stride() == other[name].stride()


@pytest.mark.parametrize(("context", "num_workers"), [("fork", 1), ("fork", 2), ("spawn", 1)])
def test_batches_of_workers__are_those_of_no_workers(context, num_workers):
    received = batches(num_workers=num_workers, multiprocessing_context=context)
    assert_same(received, batches())


def test_batches_of_workers__are_the_same_where_torch_sends_them():
    strategy = multiprocessing.get_sharing_strategy()
    multiprocessing.set_sharing_strategy("file_system")
    try:
        assert_same(batches(num_workers=1, multiprocessing_context="fork"), batches())
    finally:
        multiprocessing.set_sharing_strategy(strategy)


def test_a_batch_of_a_worker__is_memory_of_its_own_that_can_be_written():
    first, second = batches(num_workers=1, multiprocessing_context="fork")
    expected = batches()
    for tensor in (first["channels_last"], first["small"], *first["views"]):
        tensor.fill_(7)
    assert_same([second], [expected[1]])
    assert first["contiguous"].equal(expected[0]["contiguous"])


def test_a_batch_of_a_worker__lets_go_of_its_memory_and_leaves_no_file_open():
    batches(num_workers=1, multiprocessing_context="fork")
    gc.collect()  # loaders of before
    files, mapped = len(os.listdir("/proc/self/fd")), mapped_files()
    kept = batches(num_workers=1, multiprocessing_context="fork")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == files
    assert mapped_files() == mapped + 2  # one for each batch, whatever number of tensors it has
    small = [batch["idx"] for batch in kept]
    del kept
    assert mapped_files() == mapped
    assert torch.cat(small).tolist() == list(range(6))


def mapped_files():
    with open("/proc/self/maps") as maps:
        return sum("eztorch-batch" in line for line in maps)


def test_samples_that_do_not_stack__are_named_by_workers_too():
    loader = DataLoader(
        Samples(fault=True), batch_size=6, collate_fn=collate, num_workers=1, multiprocessing_context="fork"
    )
    with pytest.raises(DataError, match=r"'contiguous' has different shapes.* of v3"):
        list(loader)


def test_stacking__keeps_the_order_of_memory():
    batch = collate([{"input": TENSORS["channels_last"]}, {"input": TENSORS["channels_last"] + 1}])["input"]
    assert batch.shape == (2, 3, 4, 96, 120)
    assert batch.permute(0, 2, 3, 4, 1).is_contiguous()
    assert batch.equal(torch.stack([TENSORS["channels_last"], TENSORS["channels_last"] + 1]))


class Departed:
    """A file of a worker that is no longer there to give it."""

    def __init__(self, error):
        self.error = error

    def detach(self):
        raise self.error


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(), ConnectionRefusedError(), FileNotFoundError()])
def test_a_batch_of_a_worker_that_has_died__says_so(error):
    with pytest.raises(DataError, match="A loader worker ended before the batch that it had read arrived"):
        sending._mapped(Departed(error), 1)
