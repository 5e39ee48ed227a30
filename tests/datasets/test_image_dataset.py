"""Samples of images: what they hold, what seeds them, what happens to unreadable ones; and the same in memory."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from eztorch.datasets import (
    DictDataset,
    EpochSampler,
    ImageDataset,
    ImageFolder,
    SampleAddress,
    SampleFailure,
    ShardSampler,
    collate,
)
from eztorch.datasets.failures import ReadError
from eztorch.datasets.image_sources import ImageArray
from eztorch.datasets.resident_images import ImageMemory, ResidentImages
from eztorch.datasets.subsets import Subset
from eztorch.utils.errors import ConfigError, DataError

from .image_layouts import save, write_folders


def noise(sample):
    return {**sample, "draw": float(torch.rand(())) + np.random.rand()}


def array(number=6):
    images = np.random.default_rng(0).integers(0, 256, (number, 3, 4, 5), dtype=np.uint8)
    return ImageArray(images, np.arange(number) % 2)


def test_sample__is_input_label_and_idx(tmp_path):
    dataset = ImageFolder(write_folders(tmp_path, ["a", "b"], per_class=2))
    assert len(dataset) == 4
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    sample = dataset[SampleAddress(3, 2)]
    assert list(sample) == ["input", "label", "idx"]
    assert (sample["input"].dtype, sample["input"].shape) == (torch.uint8, (3, 8, 8))
    assert (sample["label"], sample["idx"], int(sample["input"].max())) == (1, 2, 10)


def test_draws__depend_on_epoch_and_index_alone_and_leave_the_generators():
    dataset = ImageDataset(array(), transform=noise)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = [dataset[SampleAddress(0, index)]["draw"] for index in range(3)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert [dataset[index]["draw"] for index in (2, 1, 0)] == first[::-1]
    assert dataset[SampleAddress(1, 0)]["draw"] != first[0]
    assert len(set(first)) == 3


def test_pairs__of_any_dataset_become_mappings():
    class Pairs:
        targets = (4, 2)

        def __getitem__(self, index):
            return Image.new("RGB", (5, 4), (index, 0, 0)), self.targets[index]

    dataset = DictDataset(Pairs(), transform=noise)
    assert dataset.labels.tolist() == [4, 2]
    assert (dataset[1]["label"], dataset[1]["input"][0].unique().tolist()) == (2, [1])


@pytest.fixture
def damaged(tmp_path):
    """Six images of two classes, of which numbers 1 and 4 are damaged."""
    write_folders(tmp_path, ["a", "b"], per_class=3)
    for name in ("a/0001.png", "b/0001.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n")
    return tmp_path


def test_evaluation__gives_the_failure_of_an_unreadable_image(damaged):
    for on_error in ("skip", "count_as_wrong"):
        item = ImageFolder(damaged, on_error=on_error)[SampleAddress(2, 4)]
        assert isinstance(item, SampleFailure)
        assert (item.idx, item.path, item.decoder, item.epoch) == (4, str(damaged / "b/0001.png"), "image", 2)
        assert item.reason


def test_training__gives_another_image_drawn_by_the_address(damaged):
    dataset = ImageFolder(damaged, training=True)
    samples = [dataset[SampleAddress(epoch, 4)] for epoch in range(8)]
    assert [sample["failures"][0].idx for sample in samples] == [4] * 8
    assert len({sample["idx"] for sample in samples}) > 1
    assert {sample["idx"] for sample in samples} <= {0, 2, 3, 5}
    assert dataset[SampleAddress(3, 4)]["idx"] == samples[3]["idx"]
    assert "failures" not in dataset[0]


def test_errors__are_raised_when_told_so_and_when_all_images_fail(damaged, tmp_path):
    with pytest.raises(ReadError, match=r"b/0001\.png"):
        ImageFolder(damaged, training=True, on_error="raise")[4]
    for file in damaged.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(ReadError, match="it is no picture"):
        ImageFolder(damaged, training=True)[0]
    with pytest.raises(ConfigError, match=r"on_error='skp'; expected one of 'skip', 'raise', .*Did you mean 'skip'"):
        ImageFolder(damaged, on_error="skp")


def test_transform__that_fails_names_the_image(tmp_path):
    def fail(sample):
        raise ValueError("too small")

    with pytest.raises(RuntimeError, match=r"a/0000\.png: ValueError while it was transformed: too small"):
        ImageFolder(write_folders(tmp_path, ["a"]), transform=fail)[0]


# In memory


def memory(dataset, **options):
    return ImageMemory(dataset, "cpu", **({"limit_gb": 1, "num_workers": 0, "name": "datamodule.train"} | options))


def batches(dataset, sampler, size=4):
    return list(DataLoader(dataset, batch_size=size, sampler=sampler, collate_fn=collate))


def same(one, other):
    assert list(one) == list(other)
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[key])
            assert value.dtype == other[key].dtype
        else:
            assert value == other[key]


@pytest.mark.parametrize("workers", [0, 1])
def test_memory__gives_the_batches_of_the_worker_path(workers):
    source = array(300)
    dataset = ImageDataset(source, training=True)
    resident = ResidentImages(memory(dataset, num_workers=workers), dataset)
    assert resident.labels.tolist() == dataset.labels.tolist()
    assert (resident.classes, resident.name(2)) == (dataset.classes, dataset.name(2))
    for world in (1, 2):
        for rank in range(world):
            for sampler in (EpochSampler(300, rank=rank, world=world), ShardSampler(300, rank=rank, world=world)):
                sampler.set_epoch(3)
                pairs = list(zip(batches(resident, sampler), batches(dataset, sampler), strict=True))
                assert len(pairs) == 75 // world + (world == 2)
                for one, other in pairs:
                    same(one, other)
    same(resident[7], dataset[7])


def test_memory__draws_nothing_from_the_run_and_holds_one_tensor():
    held = memory(ImageDataset(array()))
    before = torch.get_rng_state()
    held.load()
    assert torch.equal(torch.get_rng_state(), before)
    image = held.batch([1])["input"]
    image.zero_()
    assert held.batch([1])["input"].any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("indices", [range(6), [0, 1, 4, 5]])
def test_memory__treats_unreadable_images_as_the_worker_path_does(damaged, training, indices):
    dataset = Subset(ImageFolder(damaged, training=training), np.array(indices))
    resident = ResidentImages(memory(dataset), dataset)
    for epoch in range(6):
        sampler = EpochSampler(len(indices))
        sampler.set_epoch(epoch)
        for one, other in zip(batches(resident, sampler, 2), batches(dataset, sampler, 2), strict=True):
            same(one, other)
    damaged_one = resident[SampleAddress(1, 1)]
    assert (damaged_one["failures"][0] if training else damaged_one).epoch == 1
    assert (batches(resident, [1, 1], 2)[0]["input"] is None) == (not training)


def test_memory__of_unreadable_images_alone_is_an_error(damaged):
    for file in damaged.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"datamodule\.train: none of the 6 images can be read; .*0000\.png"):
        memory(ImageFolder(damaged)).load()


def test_memory__of_different_sizes_is_an_error_that_names_the_images(tmp_path):
    write_folders(tmp_path, ["a"])
    save(tmp_path / "a" / "wide.png", np.zeros((8, 9, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"0000\.png is 3 x 8 x 8 and .*wide\.png is 3 x 8 x 9 .*resident=false"):
        memory(ImageFolder(tmp_path)).load()


def test_memory__says_what_it_takes_and_refuses_more_than_its_limit(caplog):
    with caplog.at_level(logging.INFO, logger="eztorch"):
        memory(ImageDataset(array(10)), limit_gb=1e-6).load()
    assert "datamodule.train: 10 images of 3 x 4 x 5 take 0.00 GB on cpu." in caplog.text
    with pytest.raises(DataError, match=r"take 0\.00 GB on cpu, more than datamodule\.resident_limit_gb=5e-07"):
        memory(ImageDataset(array(10)), limit_gb=5e-7).load()
