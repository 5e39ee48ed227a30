from __future__ import annotations

import pytest
import torch
from torchvision.transforms.functional import rgb_to_grayscale

from eztorch.transforms.video import (
    RandomTemporalDifference,
    RemoveTimeDim,
    TemporalDifference,
    UniformTemporalSubsample,
)
from eztorch.utils.errors import ConfigError


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return torch.randint(256, (3, 5, 6, 7)).float()


@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 77, 100])
@pytest.mark.parametrize("kept", [1, 2, 8, 99])
def test_uniform_temporal_subsample__keeps_frame_floor_of_i_t_over_n(frames, kept):
    clip = torch.arange(frames).view(1, frames, 1, 1)
    expected = [i * (frames - 1) // (kept - 1) if kept > 1 else 0 for i in range(kept)]
    assert UniformTemporalSubsample(kept)(clip).flatten().tolist() == expected


def test_uniform_temporal_subsample__refuses_to_keep_nothing():
    with pytest.raises(ConfigError, match=r"num_samples=0; expected a whole number of at least 1"):
        UniformTemporalSubsample(0)


def test_temporal_difference__is_that_of_grey_frames(clip):
    grey = rgb_to_grayscale(clip.transpose(0, 1), 3).transpose(0, 1)
    result = TemporalDifference()(clip)
    for t in range(4):
        torch.testing.assert_close(result[:, t], (grey[:, t] - grey[:, t + 1] + 255) / 2)
    assert torch.equal(result[:, 4], result[:, 3])


def test_temporal_difference__can_keep_colours_and_drop_signs(clip):
    result = TemporalDifference(use_grayscale=False, absolute=True)(clip)
    torch.testing.assert_close(result[:, :4], (clip[:, :4] - clip[:, 1:]).abs())


@pytest.mark.parametrize("absolute", [True, False])
def test_temporal_difference__of_bytes_is_that_of_floats_rounded(clip, absolute):
    transform = TemporalDifference(absolute=absolute)
    result = transform(clip.to(torch.uint8))
    assert result.dtype == torch.uint8
    assert torch.equal(result.float(), transform(clip).round())


@pytest.mark.parametrize(("dtype", "expected"), [(torch.uint8, 128), (torch.float32, 127.5)])
def test_temporal_difference__of_a_single_frame_is_none(dtype, expected):
    clip = torch.full((3, 1, 2, 2), 77).to(dtype)
    result = TemporalDifference()(clip)
    assert result.dtype == dtype
    assert result.unique().tolist() == [expected]


def test_random_temporal_difference__comes_as_often_as_it_should(clip):
    torch.manual_seed(0)
    transform = RandomTemporalDifference(p=0.2)
    changed = sum(transform(clip) is not clip for _ in range(1000)) / 1000
    assert changed == pytest.approx(0.2, abs=0.04)
    assert RandomTemporalDifference(p=0)(clip) is clip
    assert RandomTemporalDifference(p=1)(clip) is not clip
    with pytest.raises(ConfigError, match=r"p=1.5; expected a probability"):
        RandomTemporalDifference(p=1.5)


def test_remove_time_dim__makes_an_image(clip):
    assert RemoveTimeDim()(clip[:, :1]).shape == (3, 6, 7)
    assert torch.equal(RemoveTimeDim()(clip)[5], clip[1, 0])
