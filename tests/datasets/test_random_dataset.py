from __future__ import annotations

import torch

from eztorch.datasets import RandomDataset, SampleAddress


def test_random_dataset__is_the_same_in_every_epoch_but_for_its_transform():
    def noisy(sample):
        return sample | {"noise": torch.rand(()).item()}

    dataset = RandomDataset((3, 2, 4, 4), 5, num_classes=2, transform=noisy)
    first, again, later = dataset[SampleAddress(0, 3)], dataset[3], dataset[SampleAddress(1, 3)]
    assert torch.equal(first["input"], later["input"])
    assert first["noise"] == again["noise"] != later["noise"]
    assert (first["label"], first["idx"], len(dataset)) == (1, 3, 5)
    assert not torch.equal(first["input"], dataset[4]["input"])


def test_random_dataset__gives_views_of_bytes():
    views = RandomDataset([3, 4, 4], 1, num_classes=1, num_views=2, uint8=True)[0]["input"]
    assert [view.dtype for view in views] == [torch.uint8, torch.uint8]
    assert not torch.equal(views[0], views[1])
