"""Clips at random places, for training."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch

from eztorch.datasets.clip_samplers.base import ClipInfo, ClipInfoList, as_count, as_seconds
from eztorch.utils.errors import ConfigError


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
        self,
        clip_duration: float | str | Fraction,
        speeds: Sequence[float] | None = None,
        jitter_factor: float = 0,
    ) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.speeds = tuple(as_seconds(speed, "speeds") for speed in ((1,) if speeds is None else speeds))
        if not self.speeds:
            raise ConfigError("speeds=[]; expected at least one positive number, or null.")
        if not 0 <= jitter_factor < 1:
            raise ConfigError(f"jitter_factor={jitter_factor!r}; expected a number of at least 0 and below 1.")
        self.jitter_factor = Fraction(str(jitter_factor))

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return a clip, always the last; see `ClipSampler`."""
        speed = self.speeds[int(torch.randint(len(self.speeds), (), generator=generator))]
        length = self.clip_duration * speed
        if self.jitter_factor:
            length *= 1 + self.jitter_factor * (2 * _draw(generator) - 1)
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


def _draw(generator: torch.Generator | None) -> Fraction:
    """Draw from U(0, 1), exactly representable."""
    return Fraction(torch.rand((), dtype=torch.float64, generator=generator).item())
