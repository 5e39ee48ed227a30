from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from eztorch.datasets.clip_samplers import RandomCVRLSampler
from eztorch.utils.errors import ConfigError

VIDEO, LENGTH = Fraction(12), Fraction(2)
ROOM = float(VIDEO - LENGTH)


def draw(number: int, duration: Fraction = VIDEO, **arguments):
    sampler, generator = RandomCVRLSampler(LENGTH, **arguments), torch.Generator().manual_seed(0)
    return [sampler(Fraction(0), duration, None, generator) for _ in range(number)]


def distribution(share: torch.Tensor, power: float, decreasing: bool) -> torch.Tensor:
    """Integrate the density of the law numerically: proportional to 1 - x^p or to x^p on [0, 1]."""
    middles = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    density = 1 - middles**power if decreasing else middles**power
    mass = torch.cat([torch.zeros(1, dtype=torch.float64), (density / density.sum()).cumsum(0)])
    return mass[(share * 20000).long()]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 5])
@pytest.mark.parametrize("decreasing", [True, False])
def test_cvrl__draws_the_distance_of_the_clips_from_its_power_law(power, decreasing):
    samples = draw(4000, shuffle=False, power_cdf=power, decreasing_cdf=decreasing)
    share = torch.tensor([float(second.start - first.start) for first, second in samples]).double().sort().values / ROOM
    assert 0 <= share[0] < share[-1] <= 1
    empirical = (torch.arange(len(share)) + 0.5) / len(share)
    # Kolmogorov's distance: above 0.0257 once in a hundred times, were the law the right one.
    assert (empirical - distribution(share, power, decreasing)).abs().max() < 0.0257


@pytest.mark.parametrize("decreasing", [True, False])
def test_cvrl__its_laws_are_distributions(decreasing):
    ends = distribution(torch.tensor([0.0, 1.0]), 1.0, decreasing)
    assert ends.tolist() == [0, pytest.approx(1)]
    assert float(distribution(torch.tensor([0.5]), 1.0, decreasing)) == pytest.approx(
        0.75 if decreasing else 0.25, abs=1e-4
    )


def test_cvrl__draws_the_earlier_start_evenly_from_what_the_distance_leaves():
    shares = torch.tensor(
        [
            float(first.start / (VIDEO - LENGTH - (second.start - first.start)))
            for first, second in draw(2000, shuffle=False)
        ]
    )
    assert 0 <= shares.min() < shares.max() <= 1
    torch.testing.assert_close(
        shares.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([0.25, 0.5, 0.75]), atol=0.04, rtol=0
    )


def test_cvrl__gives_two_clips_of_one_length_inside_the_video():
    for clips in draw(300, speeds=[1, 2], jitter_factor=0.1):
        assert [(clip.clip_index, clip.aug_index) for clip in clips] == [(0, 0), (1, 0)]
        assert clips.is_last
        assert clips[0].end - clips[0].start == clips[1].end - clips[1].start
        assert all(clip.start >= 0 and clip.end <= VIDEO for clip in clips)


def test_cvrl__puts_the_later_clip_first_half_of_the_time_when_it_shuffles():
    swapped = sum(first.start > second.start for first, second in draw(1000))
    assert 440 < swapped < 560
    assert not any(first.start > second.start for first, second in draw(200, shuffle=False))


@pytest.mark.parametrize("duration", [Fraction(0), Fraction(1), LENGTH])
def test_cvrl__starts_both_clips_at_zero_in_a_video_no_longer_than_them(duration):
    for clips in draw(5, duration):
        assert [(clip.start, clip.end) for clip in clips] == [(0, LENGTH), (0, LENGTH)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power_cdf": 0}, "power_cdf=0; expected a positive number"),
        ({"speeds": []}, "speeds="),
        ({"jitter_factor": 1}, "jitter_factor=1"),
    ],
)
def test_cvrl__refuses_arguments_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        RandomCVRLSampler(2, **arguments)
