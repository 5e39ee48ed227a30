"""Clips at random places, for training."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch

from eztorch.datasets.clip_samplers.base import ClipInfo, ClipInfoList, as_seconds
from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count


class ClipLength:
    """The length of a random clip: `clip_duration`, times a speed drawn from `speeds`, times a draw of U(1 - j, 1 + j).

    Args:
        clip_duration: Length before any of that, in seconds.
        speeds: Factors to choose from with equal chances; None and `[1]` leave the length as it is.
        jitter_factor: j, at least 0 and below 1.

    Raises:
        ConfigError: A length or a speed that is not positive, or a jitter out of its range.
    """

    def __init__(
        self, clip_duration: float | str | Fraction, speeds: Sequence[float] | None = None, jitter_factor: float = 0
    ) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.speeds = tuple(as_seconds(speed, "speeds") for speed in ((1,) if speeds is None else speeds))
        if not self.speeds:
            raise ConfigError("speeds=[]; expected at least one positive number, or null.")
        if not 0 <= jitter_factor < 1:
            raise ConfigError(f"jitter_factor={jitter_factor!r}; expected a number of at least 0 and below 1.")
        self.jitter_factor = Fraction(str(jitter_factor))

    def draw(self, generator: torch.Generator | None) -> Fraction:
        """Return the length of a clip, in seconds."""
        speed = self.speeds[int(torch.randint(len(self.speeds), (), generator=generator))]
        length = self.clip_duration * speed
        if self.jitter_factor:
            length *= 1 + self.jitter_factor * (2 * _draw(generator) - 1)
        return length


class RandomClipSampler:
    """One clip at a random place.

    Its length is `clip_duration`, times a speed drawn from `speeds`, times a factor drawn from U(1 - j, 1 + j), j the
    jitter; its start is drawn from U(0, T - d), T the length of the video and d that of the clip, and is 0 in a video
    shorter than the clip.

    Args:
        clip_duration: Length of a clip, in seconds.
        speeds: Factors to choose from with equal chances; None and `[1]` leave the length as it is.
        jitter_factor: j, at least 0 and below 1.

    Raises:
        ConfigError: A length or a speed that is not positive, or a jitter out of its range.

    >>> clip = RandomClipSampler(2.56)(Fraction(0), Fraction(10), None)
    >>> clip.end - clip.start, clip.is_last
    (Fraction(64, 25), True)
    """

    def __init__(
        self, clip_duration: float | str | Fraction, speeds: Sequence[float] | None = None, jitter_factor: float = 0
    ) -> None:
        self.length = ClipLength(clip_duration, speeds, jitter_factor)

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return a clip, always the last; see `ClipSampler`."""
        length = self.length.draw(generator)
        start = max(Fraction(duration) - length, Fraction(0)) * _draw(generator)
        return ClipInfo(start, start + length, clip_index=0, aug_index=0, is_last=True)


class RandomMultiClipSampler:
    """Several clips of a video in one sample, each drawn as by a `RandomClipSampler` of its own: the views of SSL.

    Args:
        clip_duration: Length of a clip, in seconds.
        num_clips: Number of clips.
        speeds: As in `RandomClipSampler`; every clip draws its own.
        jitter_factor: As in `RandomClipSampler`; every clip draws its own.

    Raises:
        ConfigError: As in `RandomClipSampler`, or a number of clips below 1.

    >>> [clip.clip_index for clip in RandomMultiClipSampler(2.56, num_clips=2)(Fraction(0), Fraction(10), None)]
    [0, 1]
    """

    def __init__(
        self,
        clip_duration: float | str | Fraction,
        num_clips: int,
        speeds: Sequence[float] | None = None,
        jitter_factor: float = 0,
    ) -> None:
        self.num_clips = as_count(num_clips, "num_clips")
        self.sampler = RandomClipSampler(clip_duration, speeds, jitter_factor)

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfoList:
        """Return the clips of a sample, always the last; see `ClipSampler`."""
        clips = (self.sampler(last_end, duration, None, generator) for _ in range(self.num_clips))
        return ClipInfoList(clip._replace(clip_index=index) for index, clip in enumerate(clips))


class RandomCVRLSampler:
    """Two clips whose distance in time follows a power law (CVRL, https://arxiv.org/abs/2008.03800).

    With T the length of the video, d that of the clips, M = T - d and p the power, the distance k of the two starts
    has, on [0, M], the distribution

    - decreasing: F(k) = ((p + 1) (k / M) - (k / M)^(p + 1)) / p, of a density that falls to 0 at M: clips close to each
      other are the most likely;
    - increasing: F(k) = (k / M)^(p + 1), of a density that rises from 0.

    The start of the earlier clip is drawn from U(0, M - k). In a video no longer than the clips both start at 0. Both
    clips have the same length, drawn as by `RandomClipSampler`.

    Args:
        clip_duration: Length of a clip, in seconds.
        speeds: As in `RandomClipSampler`.
        jitter_factor: As in `RandomClipSampler`.
        shuffle: Whether the later clip comes first half of the time.
        power_cdf: p, positive.
        decreasing_cdf: Which of the two laws.

    Raises:
        ConfigError: As in `RandomClipSampler`, or a power that is not positive.

    >>> first, second = RandomCVRLSampler(2.56, shuffle=False)(Fraction(0), Fraction(10), None)
    >>> 0 <= first.start <= second.start <= 10 - Fraction("2.56")
    True
    """

    def __init__(
        self,
        clip_duration: float | str | Fraction,
        speeds: Sequence[float] | None = None,
        jitter_factor: float = 0,
        shuffle: bool = True,
        power_cdf: float = 1.0,
        decreasing_cdf: bool = True,
    ) -> None:
        self.length = ClipLength(clip_duration, speeds, jitter_factor)
        self.shuffle = shuffle
        self.power_cdf = float(as_seconds(power_cdf, "power_cdf"))
        self.decreasing_cdf = decreasing_cdf

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfoList:
        """Return the two clips, always the last; see `ClipSampler`."""
        length = self.length.draw(generator)
        room = max(Fraction(duration) - length, Fraction(0))
        # The increasing law has an inverse in closed form for every power, the decreasing one has not: but U times a
        # draw of the increasing law follows it exactly, for the integral of (p + 1) v^(p - 1) over v in [x, 1] is its
        # density, (p + 1) / p (1 - x^p).
        share = float(_draw(generator)) ** (1 / (self.power_cdf + 1))
        if self.decreasing_cdf:
            share *= float(_draw(generator))
        distance = room * Fraction(share)
        early = (room - distance) * _draw(generator)
        starts = [early, early + distance]
        if self.shuffle and _draw(generator) < Fraction(1, 2):
            starts.reverse()
        return ClipInfoList(
            ClipInfo(start, start + length, index, aug_index=0, is_last=index == 1)
            for index, start in enumerate(starts)
        )


def _draw(generator: torch.Generator | None) -> Fraction:
    """Draw from U(0, 1), exactly representable."""
    return Fraction(torch.rand((), dtype=torch.float64, generator=generator).item())
