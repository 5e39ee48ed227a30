from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from eztorch.datasets.clip_samplers import DenseFrames, IntervalFrames
from eztorch.utils.errors import ConfigError

FPS = Fraction(30)


class SlowDense:
    """Dense sampling as it is told: list the frames as they are shown, list the starts, pick, and read off."""

    def __init__(self, total, num_frames, rate, neighbours=1, tight=True):
        self.span = (num_frames - 1) * rate + neighbours if tight else num_frames * rate
        times = 1
        while total * times < self.span:
            times += 1
        self.shown = [frame for frame in range(total) for _ in range(times)]
        self.starts = [start for start in range(len(self.shown)) if start + self.span <= len(self.shown)]
        self.total, self.num_frames, self.rate, self.neighbours = total, num_frames, rate, neighbours

    def at(self, start):
        taken = [self.shown[start + number * self.rate] for number in range(self.num_frames)]
        return [min(frame + step, self.total - 1) for frame in taken for step in range(self.neighbours)]

    def crop(self, index, num_crops):
        if num_crops == 1:
            return self.at(self.starts[len(self.starts) // 2])
        return self.at(self.starts[round((len(self.starts) - 1) / (num_crops - 1) * index)])


# One frame, one less than the span, the span, one more, twice the span, long.
@pytest.mark.parametrize("total", [1, 2, 7, 28, 29, 30, 31, 58, 100, 300, 2997])
@pytest.mark.parametrize(
    "arguments",
    [(8, 4), (8, 4, 1, False), (1, 1), (1, 9), (2, 30), (8, 1), (8, 4, 5), (4, 3, 3)],
    ids=str,
)
def test_dense__has_the_frames_of_the_slow_reference(total, arguments):
    rule, slow = DenseFrames(*arguments), SlowDense(total, *arguments)
    for num_crops in (1, 2, 3, 10):
        for index in range(num_crops):
            frames = rule.crop(total, FPS, index, num_crops)
            assert frames.dtype == np.int64
            assert frames.tolist() == slow.crop(index, num_crops)
    generator = torch.Generator().manual_seed(0)
    possible = {tuple(slow.at(start)) for start in slow.starts}
    assert all(tuple(rule.random(total, FPS, generator).tolist()) in possible for _ in range(20))


def test_dense__starts_everywhere_equally_often():
    generator = torch.Generator().manual_seed(0)
    counts = Counter(int(DenseFrames(8, 1).random(12, FPS, generator)[0]) for _ in range(2000))
    assert sorted(counts) == [0, 1, 2, 3, 4]
    assert all(340 < count < 460 for count in counts.values())


def test_dense__several_crops_reach_from_the_first_frame_to_the_last():
    assert DenseFrames(8, 8).crop(300, FPS, 0, 10)[0] == 0
    assert DenseFrames(8, 8).crop(300, FPS, 9, 10)[-1] == 299


def test_dense__a_video_that_just_fits_has_one_clip():
    generator = torch.Generator().manual_seed(0)
    for frames in (
        *(DenseFrames(8, 4).crop(29, FPS, i, 10) for i in range(10)),
        DenseFrames(8, 4).random(29, FPS, generator),
    ):
        assert frames.tolist() == [0, 4, 8, 12, 16, 20, 24, 28]


def test_dense__a_short_video_runs_in_slow_motion():
    assert DenseFrames(8, 1).crop(3, FPS, 0, 2).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert DenseFrames(8, 1).crop(3, FPS, 1, 2).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert DenseFrames(8, 8).crop(1, FPS, 0, 1).tolist() == [0] * 8


def test_dense__neighbours_never_leave_the_video():
    assert DenseFrames(2, 3, neighbours=5).crop(4, FPS, 0, 1).tolist() == [0, 1, 2, 3, 3, 1, 2, 3, 3, 3]


def slow_interval(total, num_frames, interval, fps, target, index, num_crops, minus=False, reach=True):
    """The frames of a fixed clip in exact fractions, before they are rounded down."""
    span = Fraction(num_frames * interval) * fps / target
    room = max(total - span, Fraction(0))
    start = room / 2 if num_crops == 1 else room * index / (num_crops - 1 if reach else num_crops)
    end = start + span - (interval if minus else 1)
    step = (max(end, start) - start) / max(num_frames - 1, 1)
    return [min(max(start + step * number, Fraction(0)), Fraction(total - 1)) for number in range(num_frames)]


@pytest.mark.parametrize("total", [1, 2, 31, 32, 33, 64, 250, 1501])
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(60)], ids=str)
@pytest.mark.parametrize(
    "keys", [{}, {"minus_interval": True}, {"reach_end": False}, {"target_fps": 15}, {"num_frames": 1}], ids=str
)
def test_interval__has_the_frames_of_the_slow_reference(total, fps, keys):
    arguments = {"num_frames": 8, "interval": 4, "target_fps": 30, "minus_interval": False, "reach_end": True} | keys
    rule = IntervalFrames(**arguments)
    for num_crops in (1, 2, 10):
        for index in range(num_crops):
            exact = slow_interval(
                total,
                arguments["num_frames"],
                arguments["interval"],
                fps,
                arguments["target_fps"],
                index,
                num_crops,
                arguments["minus_interval"],
                arguments["reach_end"],
            )
            frames = rule.crop(total, fps, index, num_crops)
            assert frames.dtype == np.int64
            for frame, time in zip(frames, exact, strict=True):
                # Single precision, in which EssentialMC2 spreads the frames, may fall just below a whole number.
                assert int(max(time - Fraction(1, 5000), 0)) <= frame <= int(time)


def test_interval__spreads_a_clip_over_the_same_time_at_any_frame_rate():
    rule = IntervalFrames(4, interval=2, target_fps=30)
    assert rule.crop(8, Fraction(30), 0, 1).tolist() == [0, 2, 4, 7]
    assert rule.crop(16, Fraction(60), 0, 1).tolist() == [0, 5, 10, 15]


def test_interval__the_last_of_several_clips_ends_with_the_video_unless_told_otherwise():
    assert IntervalFrames(8).crop(100, FPS, 9, 10)[-1] == 99
    assert IntervalFrames(8, reach_end=False).crop(100, FPS, 9, 10)[-1] == 92  # 68 * 9 / 10 + 31


def test_interval__a_short_video_repeats_its_last_frame():
    assert IntervalFrames(4, interval=4).crop(10, FPS, 0, 1).tolist() == [0, 5, 9, 9]
    assert IntervalFrames(4, interval=4).crop(1, FPS, 0, 1).tolist() == [0, 0, 0, 0]


def test_interval__a_random_clip_starts_anywhere_in_the_room():
    generator = torch.Generator().manual_seed(0)
    firsts = Counter(int(IntervalFrames(8, interval=1).random(12, FPS, generator)[0]) for _ in range(2000))
    assert sorted(firsts) == [0, 1, 2, 3]  # the start is drawn from U(0, 4)
    assert all(430 < count < 570 for count in firsts.values())


def test_interval__a_random_clip_of_one_frame_is_any_frame_and_a_fixed_one_is_fixed():
    generator = torch.Generator().manual_seed(0)
    assert {int(IntervalFrames(1).random(5, FPS, generator)[0]) for _ in range(200)} == {0, 1, 2, 3, 4}
    assert {int(IntervalFrames(1).crop(104, FPS, 0, 1)[0]) for _ in range(20)} == {50}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseFrames(0, 1), "num_frames=0; expected a whole number of at least 1"),
        (lambda: DenseFrames(8, 0.5), "sampling_rate=0.5"),
        (lambda: DenseFrames(8, 8, neighbours=0), "neighbours=0"),
        (lambda: DenseFrames(8, 8, neighbours=5, tight=False), "neighbours=5 needs tight=true"),
        (lambda: IntervalFrames(8, interval=0), "interval=0"),
        (lambda: IntervalFrames(8, target_fps=0), "target_fps=0; expected a positive number"),
    ],
)
def test_span_rules__refuse_arguments_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
