from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from eztorch.datasets.clip_samplers import (
    ClipInfo,
    ConstantClipsWithHalfOverlapPerVideoClipSampler,
    MinimumFullCoverageClipSampler,
    SlidingWindowClipSampler,
    UniformClipSampler,
    WholeVideoClipSampler,
    all_clips,
)
from eztorch.utils.errors import ConfigError

# Shorter than a clip of 2 s, nothing at all, one frame, exact fits, just above and below them, an odd length.
DURATIONS = [Fraction(text) for text in ("0", "1/30", "1.9", "2", "2.1", "3", "4", "5.9", "6", "1001/100")]


def starts(sampler, duration) -> list[Fraction]:
    return [clip.start for clip in all_clips(sampler, Fraction(duration))]


def slow_windows(duration: Fraction, length: Fraction, stride: Fraction, tail: str) -> list[Fraction]:
    """Slide until nothing is left, one window after the other."""
    found = [Fraction(0)]
    while found[-1] + stride + length <= duration:
        found.append(found[-1] + stride)
    if found[-1] + length < duration:
        if tail == "shift":
            found.append(duration - length)
        elif tail == "partial" and found[-1] + stride < duration:
            found.append(found[-1] + stride)
    return found


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("tail", ["drop", "shift", "partial"])
@pytest.mark.parametrize("stride", ["0.7", "1", "2", "2.5"])
def test_sliding_window__takes_every_whole_window_and_the_tail_as_told(duration, tail, stride):
    found = all_clips(SlidingWindowClipSampler(2, stride, tail), duration)
    assert [clip.start for clip in found] == slow_windows(duration, Fraction(2), Fraction(stride), tail)
    assert {clip.end - clip.start for clip in found} == {2}
    assert [clip.clip_index for clip in found] == list(range(len(found)))
    assert [clip.is_last for clip in found] == [False] * (len(found) - 1) + [True]


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("stride", [None, "0.7", "1"])
def test_sliding_window__leaves_nothing_uncovered_unless_it_drops_the_tail(duration, stride):
    for tail in ("shift", "partial"):
        clips = all_clips(SlidingWindowClipSampler(2, stride, tail), duration)
        assert clips[-1].end >= duration
        assert all(after.start <= before.end for before, after in pairwise(clips))


def test_sliding_window__shifted_to_the_end_lies_in_the_video():
    assert all_clips(SlidingWindowClipSampler(2, 2, "shift"), Fraction(5))[-1][:2] == (3, 5)


def test_sliding_window__with_a_stride_longer_than_itself_leaves_gaps():
    assert starts(SlidingWindowClipSampler(1, 3, "partial"), "6.5") == [0, 3, 6]
    assert starts(SlidingWindowClipSampler(1, 3, "partial"), "5.5") == [0, 3]


def test_uniform__is_side_by_side_or_overlaps():
    assert starts(UniformClipSampler(2), 5) == [0, 2]
    assert starts(UniformClipSampler(2, stride=1), 5) == [0, 1, 2, 3]
    # The example in the documentation of pytorchvideo: 39 frames at 30 a second, windows of 32 at a stride of 16.
    frames = Fraction(1, 30)
    assert starts(UniformClipSampler(32 * frames, 16 * frames), 39 * frames) == [0]
    assert starts(UniformClipSampler(32 * frames, 16 * frames, backpad_last=True), 39 * frames) == [0, 7 * frames]


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("augs", [1, 3])
def test_half_overlap__has_twice_the_whole_lengths_less_one_and_every_augmentation(duration, augs):
    found = all_clips(ConstantClipsWithHalfOverlapPerVideoClipSampler(2, augs), duration)
    number = max(duration // 2 * 2 - 1, 1)
    assert [(clip.start, clip.clip_index, clip.aug_index) for clip in found] == [
        (clip, clip, aug) for clip in range(number) for aug in range(augs)
    ]
    assert [clip.is_last for clip in found].index(True) == len(found) - 1


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("augs", [1, 3])
def test_full_coverage__covers_the_video_and_no_fewer_clips_could(duration, augs):
    found = all_clips(MinimumFullCoverageClipSampler(2, augs), duration)
    clips = found[::augs]
    assert [clip.aug_index for clip in found] == list(range(augs)) * len(clips)
    assert clips[0].start == 0
    assert clips[-1].end == max(duration, 2)
    assert all(after.start <= before.end for before, after in pairwise(clips))
    assert len(clips) == 1 or (len(clips) - 1) * 2 < duration
    assert len({after.start - before.start for before, after in pairwise(clips)}) <= 1


@pytest.mark.parametrize("duration", DURATIONS)
def test_whole_video__is_one_clip_with_all_its_augmentations(duration):
    assert all_clips(WholeVideoClipSampler(2), duration) == [
        ClipInfo(Fraction(0), duration, 0, 0, False),
        ClipInfo(Fraction(0), duration, 0, 1, True),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SlidingWindowClipSampler(0), "clip_duration=0"),
        (lambda: SlidingWindowClipSampler(2, -1), "stride=-1; expected a positive number"),
        (lambda: SlidingWindowClipSampler(2, tail="shifted"), "tail='shifted' is not known; .*Did you mean 'shift'"),
        (lambda: SlidingWindowClipSampler(2, augs_per_clip=0), "augs_per_clip=0"),
        (lambda: UniformClipSampler(2, stride=3), "stride=3 is longer than clip_duration=2"),
        (lambda: ConstantClipsWithHalfOverlapPerVideoClipSampler(2, 0), "augs_per_clip=0"),
        (lambda: MinimumFullCoverageClipSampler("long"), "clip_duration='long'"),
        (lambda: WholeVideoClipSampler(0), "augs_per_clip=0"),
    ],
)
def test_sliding_samplers__refuse_arguments_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
