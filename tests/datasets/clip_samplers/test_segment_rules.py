from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from eztorch.datasets.clip_samplers import SegmentFrames, SparseFrames
from eztorch.utils.errors import ConfigError

FPS = Fraction(30)
# One frame, one less than the 8 segments, as many, one more, twice as many, with and without remainder.
TOTALS = [1, 2, 7, 8, 9, 12, 15, 16, 17, 22, 23, 30, 100, 301]


def slow_segments(total: int, num_frames: int, neighbours: int) -> list[list[int]]:
    """List the frames as they are shown, and cut the list into equal parts."""
    firsts = list(range(max(total - neighbours + 1, 1)))
    times = 1
    while len(firsts) * times < num_frames:
        times += 1
    shown = [frame for frame in firsts for _ in range(times)]
    bounds = [int(Fraction(len(shown) * part, num_frames)) for part in range(num_frames + 1)]
    return [shown[start:end] for start, end in pairwise(bounds)]


def snippets(firsts, neighbours: int, total: int) -> list[int]:
    return [min(first + step, total - 1) for first in firsts for step in range(neighbours)]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_sparse_start__takes_the_first_frame_of_every_segment_or_draws_one(total, neighbours):
    rule, segments = SparseFrames(8, "start", neighbours), slow_segments(total, 8, neighbours)
    frames = rule.crop(total, FPS, 0, 1)
    assert frames.dtype == np.int64
    assert frames.tolist() == snippets([segment[0] for segment in segments], neighbours, total)
    generator = torch.Generator().manual_seed(0)
    drawn = [rule.random(total, FPS, generator) for _ in range(200)]
    firsts = np.stack(drawn)[:, ::neighbours]
    for number, segment in enumerate(segments):
        assert set(firsts[:, number].tolist()) <= set(segment)
        assert len(set(firsts[:, number].tolist())) == len(set(segment)) or len(set(segment)) > 20
    assert all(frames.tolist() == snippets(frames[::neighbours], neighbours, total) for frames in drawn)


def slow_tsn_test(total: int, num_frames: int, length: int) -> list[int]:
    if total <= num_frames + length - 1:
        return [0] * num_frames
    tick = (total - length + 1) / num_frames
    return [int(tick / 2 + tick * number) for number in range(num_frames)]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("length", [1, 5, 15], ids=["TSN", "TDN", "TDN-GreyST"])
def test_sparse_centre__takes_the_middle_of_every_segment(total, length):
    frames = SparseFrames(8, "centre", length).crop(total, FPS, 0, 1)
    assert frames.dtype == np.int64
    assert frames.tolist() == snippets(slow_tsn_test(total, 8, length), length, total)


def slow_tsn_choices(total: int, num_frames: int, length: int) -> list[range] | range | None:
    """What a random clip draws from: a range for every segment; one range for all, sorted; None for frame 0 alone."""
    room = total - length + 1
    if room < num_frames:
        room = total - min(length, 5) + 1
    if room // num_frames > 0:
        part = room // num_frames
        return [range(number * part, (number + 1) * part) for number in range(num_frames)]
    return range(max(room, 1)) if total > num_frames else None


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("length", [1, 5, 15], ids=["TSN", "TDN", "TDN-GreyST"])
def test_sparse_centre__draws_from_segments_of_whole_length(total, length):
    generator = torch.Generator().manual_seed(0)
    drawn = [SparseFrames(8, "centre", length).random(total, FPS, generator) for _ in range(300)]
    firsts = np.stack(drawn)[:, ::length]
    choices = slow_tsn_choices(total, 8, length)
    if choices is None:
        assert not firsts.any()
    elif isinstance(choices, range):
        assert (firsts == np.sort(firsts, axis=1)).all()
        assert set(firsts.ravel().tolist()) == set(choices)
    else:
        for number, choice in enumerate(choices):
            found = set(firsts[:, number].tolist())
            assert found == set(choice) if len(choice) < 30 else found <= set(choice)
    assert all(frames.tolist() == snippets(frames[::length], length, total) for frames in drawn)


@pytest.mark.parametrize("at", ["start", "centre"])
@pytest.mark.parametrize("total", [9, 24, 100])
def test_sparse__several_crops_take_turns_in_the_segments(at, total):
    crops = [SparseFrames(8, at).crop(total, FPS, index, 3) for index in range(3)]
    together = np.stack(crops, axis=1).ravel()
    assert (np.diff(together) >= 0).all()
    if total >= 24:
        finer = SparseFrames(24, at).crop(total, FPS, 0, 1)
        # 24 frames in 24 segments: alone, the rule of TSN calls that too short for the middle of each.
        assert together.tolist() == (list(range(24)) if total == 24 else finer.tolist())


def test_sparse__known_places():
    assert SparseFrames(4).crop(10, FPS, 0, 1).tolist() == [0, 2, 5, 7]
    assert SparseFrames(4, "centre").crop(10, FPS, 0, 1).tolist() == [1, 3, 6, 8]
    assert SparseFrames(4).crop(3, FPS, 0, 1).tolist() == [0, 0, 1, 2]  # 001122 in 4 segments
    assert SparseFrames(4, "centre").crop(4, FPS, 0, 1).tolist() == [0, 0, 0, 0]


def slow_segment(total: int, num_frames: int, index: int, num_crops: int) -> list[Fraction]:
    part = Fraction(total, num_frames)
    share = Fraction(1, 2) if num_crops == 1 else Fraction(index + 1, num_crops)
    return [min((number + share) * part, Fraction(total - 1)) for number in range(num_frames)]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("num_frames", [1, 3, 8])
def test_segment__has_the_frames_of_the_slow_reference(total, num_frames):
    for num_crops in (1, 2, 3, 10):
        for index in range(num_crops):
            frames = SegmentFrames(num_frames).crop(total, FPS, index, num_crops)
            assert frames.dtype == np.int64
            for frame, time in zip(frames.tolist(), slow_segment(total, num_frames, index, num_crops), strict=True):
                # At a half, single precision may fall to either side; both are half a frame away.
                assert abs(frame - time) < Fraction(5001, 10000)
                assert frame == round(time) or abs(abs(frame - time) - Fraction(1, 2)) < Fraction(1, 10000)


def test_segment__known_places():
    assert SegmentFrames(4).crop(16, FPS, 0, 1).tolist() == [2, 6, 10, 14]
    assert SegmentFrames(4).crop(12, FPS, 0, 1).tolist() == [2, 4, 8, 10]  # 1.5, 4.5, 7.5, 10.5: halves to even
    assert SegmentFrames(4).crop(16, FPS, 1, 2).tolist() == [4, 8, 12, 15]


@pytest.mark.parametrize("total", TOTALS)
def test_segment__a_random_clip_has_a_time_in_every_segment(total):
    generator = torch.Generator().manual_seed(0)
    drawn = np.stack([SegmentFrames(8).random(total, FPS, generator) for _ in range(300)])
    for number in range(8):
        low, high = (min(Fraction(total * bound, 8), Fraction(total - 1)) for bound in (number, number + 1))
        found = drawn[:, number]
        assert low - Fraction(1, 2) <= found.min() <= found.max() <= high + Fraction(1, 2)
        assert abs(found.mean() - float((low + high) / 2)) < max(0.5, float(high - low) / 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseFrames(0), "num_frames=0"),
        (lambda: SparseFrames(8, "center"), "at='center' is not known; .*Did you mean 'centre'"),
        (lambda: SparseFrames(8, neighbours=-1), "neighbours=-1"),
        (lambda: SegmentFrames(2.5), "num_frames=2.5"),
    ],
)
def test_segment_rules__refuse_arguments_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
