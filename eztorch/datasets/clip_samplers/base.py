"""What all clip samplers share: the spans that they give, their protocol, and the loop that drives them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import torch

from eztorch.utils.errors import ConfigError


class ClipInfo(NamedTuple):
    """A span of a video.

    Attributes:
        start: First instant, in seconds.
        end: End of the span, in seconds, not part of it; it may lie behind the end of a short video.
        clip_index: Number of the clip in its video.
        aug_index: Number of the augmentation of the clip, such as the position of a spatial crop.
        is_last: Whether the video has no further clip.
    """

    start: Fraction
    end: Fraction
    clip_index: int
    aug_index: int
    is_last: bool


class ClipInfoList(tuple[ClipInfo, ...]):
    """Spans of one video that make up one sample together: its views."""

    __slots__ = ()

    @property
    def is_last(self) -> bool:
        """Whether the video has no further clips."""
        return self[-1].is_last


class ClipSampler(Protocol):
    """Says, from the length of a video alone, which span comes next. It keeps no state between calls."""

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo | ClipInfoList:
        """Return the next clip.

        Args:
            last_end: End of the clip before, in seconds; 0 for the first.
            duration: Length of the video, in seconds.
            info: The `ClipInfo` of the clip before; anything else asks for the first clip.
            generator: Where random numbers are drawn from; None is torch's global generator.
        """
        ...


def all_clips(
    sampler: ClipSampler, duration: Fraction, generator: torch.Generator | None = None
) -> list[ClipInfo | ClipInfoList]:
    """Return what a sampler takes from a video, up to and with the last clip.

    Args:
        sampler: The clip sampler.
        duration: Length of the video, in seconds.
        generator: Where the sampler draws random numbers from.

    >>> from eztorch.datasets.clip_samplers import ConstantClipsPerVideoSampler
    >>> [str(clip.start) for clip in all_clips(ConstantClipsPerVideoSampler(2, clips_per_video=3), Fraction(10))]
    ['0', '4', '8']
    """
    last_end, info = Fraction(0), None
    found: list[ClipInfo | ClipInfoList] = []
    while not found or not found[-1].is_last:
        info = sampler(last_end, duration, info, generator)
        last_end = info[-1].end if isinstance(info, ClipInfoList) else info.end
        found.append(info)
    return found


def placed_clip(
    info: Any, start_of: Callable[[int], Fraction], length: Fraction, *, num_clips: int, augs_per_clip: int
) -> ClipInfo:
    """Return the clip after another, of clips whose places are known: one by one, each once for every augmentation.

    Args:
        info: The `ClipInfo` before; anything else asks for the first clip.
        start_of: From the number of a clip to its start, in seconds.
        length: Length of every clip, in seconds.
        num_clips: Number of clips.
        augs_per_clip: How often each clip is given.
    """
    number = info.clip_index * augs_per_clip + info.aug_index + 1 if isinstance(info, ClipInfo) else 0
    clip_index, aug_index = divmod(number, augs_per_clip)
    start = start_of(clip_index)
    return ClipInfo(start, start + length, clip_index, aug_index, is_last=number + 1 >= num_clips * augs_per_clip)


def even_step(duration: Fraction, length: Fraction, num_clips: int) -> Fraction:
    """Return the distance of clips that are spread evenly, the first at the start and the last at the end of a video.

    Args:
        duration: Length T of the video, in seconds.
        length: Length d of every clip, in seconds.
        num_clips: Number n of clips.

    Returns:
        (T - d) / (n - 1); 0 for a single clip and for a video shorter than a clip.

    >>> even_step(Fraction(10), Fraction(2), 5)
    Fraction(2, 1)
    """
    return max(duration - length, Fraction(0)) / max(num_clips - 1, 1)


def as_seconds(value: Any, key: str) -> Fraction:
    """Return a positive length in exact seconds: `2.56` is 64/25 and not the float beside it.

    Args:
        value: An integer, a float, a Fraction, or a string of one, such as `"64/30"`.
        key: The name of the argument, for the message.

    Raises:
        ConfigError: The value is not a positive finite number.

    >>> as_seconds(2.56, "clip_duration")
    Fraction(64, 25)
    """
    try:
        seconds = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        seconds = Fraction(0)
    if seconds <= 0:
        raise ConfigError(f"{key}={value!r}; expected a positive number, such as 2.56 or '64/25'.")
    return seconds
