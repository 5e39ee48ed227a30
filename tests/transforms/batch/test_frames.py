from __future__ import annotations

import pytest
import torch

from eztorch.transforms.batch import ColorJitter, Compose, EachFrame, Normalize
from eztorch.utils.errors import ConfigError


def test_each_frame__gives_what_the_transform_makes_of_the_frames_as_images(clips):
    jitter = ColorJitter(brightness=0.5, hue=0.2)
    torch.manual_seed(3)
    result = EachFrame(jitter)(clips)
    torch.manual_seed(3)
    frames = jitter(torch.stack([clip[:, t] for clip in clips for t in range(clips.shape[2])]))
    expected = torch.stack([torch.stack(list(clip), dim=1) for clip in frames.unflatten(0, (8, 2))])
    torch.testing.assert_close(result, expected)


def test_each_frame__draws_for_every_frame_and_leaves_the_batch_as_it_is(clips):
    standing = clips[:, :, :1].expand(-1, -1, 6, -1, -1).clone()
    before = standing.clone()
    result = EachFrame(ColorJitter(brightness=0.9))(standing)
    assert torch.equal(standing, before)
    assert all(len({frame.sum().item() for frame in clip.unbind(1)}) == 6 for clip in result)


def test_each_frame__stands_among_other_batch_transforms(clips):
    normalize = Normalize(mean=[0.5] * 3, std=[0.25] * 3)
    result = Compose([EachFrame(normalize), normalize])(clips)
    torch.testing.assert_close(result, normalize(normalize(clips)))


def test_each_frame__says_that_images_have_no_frames():
    with pytest.raises(ConfigError, match=r"takes clips \(B, C, T, H, W\), not \(2, 3, 4, 4\)"):
        EachFrame(ColorJitter())(torch.zeros(2, 3, 4, 4))
