from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from eztorch.datasets.clip_samplers import ClipInfo, RandomMultiClipSampler, all_clips
from eztorch.datasets.clip_samplers.base import as_seconds


class Sliding:
    """Clips of a second, one behind the other."""

    def __call__(self, last_end, duration, info, generator=None):
        number = info.clip_index + 1 if isinstance(info, ClipInfo) else 0
        return ClipInfo(last_end, last_end + 1, number, 0, last_end + 1 >= duration)


def test_all_clips__hands_the_end_and_the_clip_before_on():
    assert [clip[:3] for clip in all_clips(Sliding(), Fraction(5, 2))] == [(0, 1, 0), (1, 2, 1), (2, 3, 2)]


def test_all_clips__takes_clips_that_come_together_as_one():
    (views,) = all_clips(RandomMultiClipSampler(1, 3), Fraction(9), torch.Generator().manual_seed(1))
    assert [clip.clip_index for clip in views] == [0, 1, 2]


@pytest.mark.parametrize("value", [2.1, "2.1", "21/10", Fraction(21, 10)])
def test_as_seconds__means_what_is_written(value):
    # 63 frames at 30 frames a second, not a bit more: the float 2.1 would ask for 64.
    assert as_seconds(value, "clip_duration") * 30 == 63
