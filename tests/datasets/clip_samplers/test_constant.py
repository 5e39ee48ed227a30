from __future__ import annotations

from fractions import Fraction

import pytest

from eztorch.datasets.clip_samplers import ClipInfo, ConstantClipsPerVideoSampler, all_clips
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("duration", [Fraction(0), Fraction(1, 30), Fraction(2), Fraction(64, 25), Fraction(1001, 100)])
@pytest.mark.parametrize(("clips", "augs"), [(1, 1), (1, 3), (2, 1), (10, 3)])
def test_constant_clips__gives_every_clip_and_augmentation_of_a_video_of_any_length(duration, clips, augs):
    found = all_clips(ConstantClipsPerVideoSampler(2.56, clips, augs), duration)
    free = max(duration - Fraction(64, 25), Fraction(0))
    expected = []
    for clip in range(clips):
        start = clip * free / (clips - 1) if clips > 1 else 0
        for aug in range(augs):
            is_last = clip == clips - 1 and aug == augs - 1
            expected.append(ClipInfo(start, start + Fraction(64, 25), clip, aug, is_last))
    assert found == expected


def test_constant_clips__the_last_clip_ends_with_the_video():
    assert all_clips(ConstantClipsPerVideoSampler(2.56, 10), Fraction(10))[-1].end == 10


def test_constant_clips__keeps_nothing_between_videos():
    sampler = ConstantClipsPerVideoSampler(1, 2)
    first = sampler(Fraction(0), Fraction(10), {"class": 3})
    other = sampler(Fraction(0), Fraction(4), None)
    assert sampler(first.end, Fraction(10), first).start == 9
    assert sampler(other.end, Fraction(4), other).start == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_duration": -1, "clips_per_video": 1}, "clip_duration=-1"),
        ({"clip_duration": 1, "clips_per_video": 0}, "clips_per_video=0"),
        ({"clip_duration": 1, "clips_per_video": 1, "augs_per_clip": True}, "augs_per_clip=True"),
    ],
)
def test_constant_clips__refuses_arguments_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ConstantClipsPerVideoSampler(**arguments)
