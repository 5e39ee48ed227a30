from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from eztorch.datasets.clip_samplers import ClipInfoList, RandomClipSampler, RandomMultiClipSampler
from eztorch.utils.errors import ConfigError

VIDEO = Fraction(10)


def draw(sampler, number: int, duration: Fraction = VIDEO):
    generator = torch.Generator().manual_seed(0)
    return [sampler(Fraction(0), duration, None, generator) for _ in range(number)]


def test_random_clip__lies_in_the_video_and_fills_it_evenly():
    clips = draw(RandomClipSampler(2.56), 2000)
    assert {clip.end - clip.start for clip in clips} == {Fraction(64, 25)}
    assert {(clip.clip_index, clip.aug_index, clip.is_last) for clip in clips} == {(0, 0, True)}
    starts = torch.tensor([float(clip.start) for clip in clips])
    assert 0 <= starts.min() < 0.05
    assert 7.39 < starts.max() <= 7.44
    torch.testing.assert_close(
        starts.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([1.86, 3.72, 5.58]), atol=0.3, rtol=0
    )


def test_random_clip__is_repeated_by_its_generator_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    assert draw(RandomClipSampler(1, [1, 2], 0.2), 5) == draw(RandomClipSampler(1, [1, 2], 0.2), 5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("duration", [Fraction(1), Fraction(64, 25), Fraction(0)])
def test_random_clip__starts_at_zero_in_a_video_no_longer_than_the_clip(duration):
    assert {(clip.start, clip.end) for clip in draw(RandomClipSampler(2.56), 5, duration)} == {(0, Fraction(64, 25))}


def test_random_clip__takes_each_speed_equally_often():
    lengths = [clip.end - clip.start for clip in draw(RandomClipSampler(0.5, [1, 2, 4.5]), 3000)]
    shares = {length: lengths.count(length) / 3000 for length in set(lengths)}
    assert set(shares) == {Fraction(1, 2), Fraction(1), Fraction(9, 4)}
    assert all(abs(share - 1 / 3) < 0.04 for share in shares.values())


@pytest.mark.parametrize("speeds", [None, [1], [1, 2]])
def test_random_clip__jitters_its_length_within_the_factor(speeds):
    # Numerators of jittered lengths outgrow 64 bits; a length must not wrap around to nothing.
    lengths = [float(clip.end - clip.start) for clip in draw(RandomClipSampler(2.5, speeds, 0.1), 1000, Fraction(100))]
    low = [length for length in lengths if length < 3]
    assert 2.25 <= min(low) < 2.26
    assert 2.74 < max(low) <= 2.75
    if speeds == [1, 2]:
        high = [length for length in lengths if length >= 3]
        assert 4.5 <= min(high) < max(high) <= 5.5
    else:
        assert len(low) == 1000


def test_random_multi_clip__draws_every_clip_by_itself():
    samples = draw(RandomMultiClipSampler(2.56, num_clips=2), 2000)
    assert all(isinstance(clips, ClipInfoList) and clips.is_last and len(clips) == 2 for clips in samples)
    assert [clip.clip_index for clip in samples[0]] == [0, 1]
    starts = torch.tensor([[float(clip.start) for clip in clips] for clips in samples])
    assert abs(torch.corrcoef(starts.T)[0, 1]) < 0.06


def test_random_multi_clip__draws_a_speed_for_every_clip():
    samples = draw(RandomMultiClipSampler(1, num_clips=2, speeds=[1, 2]), 200)
    assert {tuple(int(clip.end - clip.start) for clip in clips) for clips in samples} == {
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomClipSampler(0), "clip_duration=0; expected a positive number"),
        (lambda: RandomClipSampler("two"), "clip_duration='two'; expected a positive number"),
        (lambda: RandomClipSampler(float("inf")), "clip_duration=inf"),
        (lambda: RandomClipSampler(1, [1, -2]), "speeds=-2"),
        (lambda: RandomClipSampler(1, []), r"speeds=\[\]; expected at least one"),
        (lambda: RandomClipSampler(1, None, 1), "jitter_factor=1; expected a number of at least 0 and below 1"),
        (lambda: RandomMultiClipSampler(1, 0), "num_clips=0; expected a whole number of at least 1"),
        (lambda: RandomMultiClipSampler(1, 1.5), "num_clips=1.5"),
    ],
)
def test_random_samplers__refuse_arguments_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
