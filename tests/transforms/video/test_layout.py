from __future__ import annotations

import pytest
import torch

from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


def of_pytorchvideo(name, **arguments):
    return build({"_target_": f"pytorchvideo.transforms.{name}", **arguments})


def test_layout__moves_the_channels_there_and_back():
    clip = torch.rand(3, 4, 5, 6)
    rear = of_pytorchvideo("MoveChannelRear")(clip)
    assert rear.shape == (4, 5, 6, 3)
    assert torch.equal(of_pytorchvideo("MoveChannelFront")(rear), clip)
    assert torch.equal(of_pytorchvideo("Permute", dims=[1, 0, 2, 3])(clip), clip.transpose(0, 1))
    with pytest.raises(ConfigError, match=r"dims=\[1, 0\] and was given the shape \(3, 4, 5, 6\)"):
        of_pytorchvideo("Permute", dims=[1, 0])(clip)


def test_layout__makes_floats_of_all_bytes_and_back():
    clip = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = of_pytorchvideo("ConvertUint8ToFloat")(clip)
    assert (floats.min(), floats.max()) == (0, 1)
    assert torch.equal(of_pytorchvideo("ConvertFloatToUint8")(floats), clip)
    assert of_pytorchvideo("ConvertFloatToUint8")(torch.tensor([-0.1, 1.1])).tolist() == [0, 255]


def test_subsample_repeated__gives_the_pathways_of_slowfast():
    clip = torch.arange(64).view(1, 64, 1, 1)
    slow, fast = of_pytorchvideo("UniformTemporalSubsampleRepeated", frame_ratios=[16, 2])(clip)
    assert slow.flatten().tolist() == [0, 21, 42, 63]
    assert fast.shape[1] == 32
    with pytest.raises(ConfigError, match=r"frame_ratios=\[0\]"):
        of_pytorchvideo("UniformTemporalSubsampleRepeated", frame_ratios=[0])
