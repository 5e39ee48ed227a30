from __future__ import annotations

import pytest
import torch

from eztorch.transforms.batch import RandomTemporalDifference
from eztorch.transforms.video import temporal_difference
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("use_grayscale", [False, True])
def test_temporal_difference__is_that_of_every_clip(use_grayscale, absolute):
    clips = torch.randint(256, (5, 3, 4, 6, 6), dtype=torch.uint8)
    arguments = {"use_grayscale": use_grayscale, "absolute": absolute}
    expected = torch.stack([temporal_difference(clip, **arguments) for clip in clips])
    assert torch.equal(RandomTemporalDifference(p=1, **arguments)(clips), expected)
    floats = RandomTemporalDifference(p=1, **arguments)(clips / 255)
    assert (floats * 255 - expected).abs().max() < 0.501  # bytes are rounded


def test_temporal_difference__takes_the_share_of_clips_that_is_asked_for():
    clips = torch.rand(10, 3, 4, 6, 6)
    changed = (RandomTemporalDifference(p=0.2)(clips) != clips).flatten(1).any(dim=1)
    assert changed.sum() == 2


def test_temporal_difference__refuses_images():
    with pytest.raises(ConfigError, match=r"takes clips \(B, C, T, H, W\), not \(2, 3, 4, 4\)"):
        RandomTemporalDifference()(torch.zeros(2, 3, 4, 4))
