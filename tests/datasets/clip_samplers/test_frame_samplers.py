from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from eztorch.datasets.clip_samplers import (
    ConstantFrameSampler,
    DenseFrames,
    FrameClip,
    FrameClipList,
    FrameSampler,
    IntervalFrames,
    RandomClipSampler,
    RandomFrameSampler,
    SegmentFrames,
    SlidingFrameSampler,
    SparseFrames,
)
from eztorch.utils.errors import ConfigError

FPS = Fraction(30)
RULES = [DenseFrames(8, 4), SparseFrames(8), SparseFrames(8, "centre"), IntervalFrames(8), SegmentFrames(8)]


def names(rules):
    return [type(rule).__name__ for rule in rules]


@pytest.mark.parametrize("rule", RULES, ids=names(RULES))
@pytest.mark.parametrize("total", [1, 7, 8, 9, 29, 300])
def test_samplers__give_frames_of_the_video_with_every_rule(rule, total):
    samplers = RandomFrameSampler(rule, 2), ConstantFrameSampler(rule, 3, 2)
    for sampler in samplers:
        for clips in sampler.frames(total, FPS):
            for clip in clips if isinstance(clips, FrameClipList) else [clips]:
                assert clip.indices.shape == (8,)
                assert clip.indices.dtype == np.int64
                assert 0 <= clip.indices.min() <= clip.indices.max() < total
                assert (np.diff(clip.indices) >= 0).all()


def test_samplers__are_told_from_samplers_of_times():
    assert isinstance(RandomFrameSampler(RULES[0]), FrameSampler)
    assert not isinstance(RandomClipSampler(1), FrameSampler)


def test_random__gives_one_clip_or_views_drawn_by_themselves():
    generator = torch.Generator().manual_seed(0)
    (clip,) = RandomFrameSampler(DenseFrames(2, 1)).frames(100, FPS, generator)
    assert isinstance(clip, FrameClip)
    assert clip[1:] == (0, 0, True)
    views = [RandomFrameSampler(DenseFrames(2, 1), 2).frames(100, FPS, generator) for _ in range(1000)]
    assert all(len(one) == 1 and isinstance(one[0], FrameClipList) and one[0].is_last for one in views)
    assert [clip.clip_index for clip in views[0][0]] == [0, 1]
    starts = np.array([[clip.indices[0] for clip in sample] for (sample,) in views])
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.1


def test_random__is_repeated_by_its_generator_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    for rule in RULES:
        first, again = (
            RandomFrameSampler(rule).frames(300, FPS, torch.Generator().manual_seed(3))[0].indices for _ in range(2)
        )
        assert first.tolist() == again.tolist()
    assert torch.equal(torch.get_rng_state(), before)


def test_random__draws_a_rule_for_every_view_where_there_are_several():
    sampler = RandomFrameSampler([DenseFrames(8, 1), DenseFrames(8, 4)], num_clips=2)
    generator = torch.Generator().manual_seed(0)
    rates = [
        tuple(int(clip.indices[1] - clip.indices[0]) for clip in sampler.frames(300, FPS, generator)[0])
        for _ in range(400)
    ]
    assert set(rates) == {(1, 1), (1, 4), (4, 1), (4, 4)}
    assert 60 < rates.count((1, 4)) < 140


@pytest.mark.parametrize("temporal", [1, 2, 10])
@pytest.mark.parametrize("spatial", [1, 3])
@pytest.mark.parametrize("total", [1, 29, 300])
def test_constant__sample_j_is_temporal_crop_j_div_s_and_spatial_crop_j_mod_s(temporal, spatial, total):
    rule = DenseFrames(8, 4)
    clips = ConstantFrameSampler(rule, temporal, spatial).frames(total, FPS)
    assert len(clips) == temporal * spatial
    for j, clip in enumerate(clips):
        assert (clip.clip_index, clip.aug_index) == (j // spatial, j % spatial)
        assert clip.indices.tolist() == rule.crop(total, FPS, j // spatial, temporal).tolist()
        assert clip.is_last == (j == len(clips) - 1)


def slow_strides(total: int, span: int, stride: int, shift: bool) -> list[int]:
    starts = [0]
    while starts[-1] + stride + span <= total:
        starts.append(starts[-1] + stride)
    if shift and starts[-1] + span < total:
        starts.append(total - span)
    return starts


@pytest.mark.parametrize("total", [1, 7, 8, 9, 11, 12, 13, 20, 21, 100])
@pytest.mark.parametrize("stride", [1, 4, 8, 11])
@pytest.mark.parametrize("tail", ["drop", "shift"])
def test_sliding__takes_every_whole_window_and_the_tail_as_told(total, stride, tail):
    clips = SlidingFrameSampler(DenseFrames(8, 1), stride, tail, spatial_crops=2).frames(total, FPS)
    starts = slow_strides(total, 8, stride, tail == "shift")
    assert [(clip.clip_index, clip.aug_index) for clip in clips] == [(c, s) for c in range(len(starts)) for s in (0, 1)]
    assert [clip.is_last for clip in clips].index(True) == len(clips) - 1
    if total >= 8:
        assert [clip.indices.tolist() for clip in clips[::2]] == [list(range(start, start + 8)) for start in starts]
    else:
        assert clips[0].indices.tolist() == DenseFrames(8, 1).at(total, FPS, 0).tolist()


def test_sliding__a_short_video_is_one_clip_of_its_rule():
    (clip,) = SlidingFrameSampler(DenseFrames(8, 1), stride=1).frames(6, FPS)
    assert clip.indices.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_sliding__takes_intervals_too():
    clips = SlidingFrameSampler(IntervalFrames(4, interval=2), stride=8).frames(40, Fraction(60))
    assert [clip.indices.tolist() for clip in clips] == [[s, s + 5, s + 10, s + 15] for s in (0, 8, 16, 24)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFrameSampler({"num_frames": 8}), r"frames={'num_frames': 8}; expected a rule of frames: DenseF"),
        (lambda: RandomFrameSampler([]), r"frames=\[\]; expected at least one rule"),
        (lambda: RandomFrameSampler([RULES[0], 8]), "frames=8; expected a rule"),
        (lambda: RandomFrameSampler(RULES[0], 0), "num_clips=0"),
        (lambda: ConstantFrameSampler(None), "frames=None; expected a rule"),
        (lambda: ConstantFrameSampler(RULES[0], 0), "temporal_crops=0"),
        (lambda: ConstantFrameSampler(RULES[0], 1, 0), "spatial_crops=0"),
        (lambda: SlidingFrameSampler(SparseFrames(8), 4), "expected a rule whose clips can be put anywhere: DenseF"),
        (lambda: SlidingFrameSampler(RULES[0], 0), "stride=0"),
        (lambda: SlidingFrameSampler(RULES[0], 4, "partial"), "tail='partial' is not known"),
    ],
)
def test_frame_samplers__refuse_arguments_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
