"""Clips that go through a video from its start to its end; how many depends on its length."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch

from eztorch.datasets.clip_samplers.base import ClipInfo, as_seconds, even_step, placed_clip
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.values import as_count

_TAILS = {tail: tail for tail in ("drop", "shift", "partial")}


class SlidingWindowClipSampler:
    """Windows of the length d, at 0, s, 2s and so on, s the stride, as long as a whole window fits.

    What is left behind the last whole window, `tail` says: `drop` leaves it out; `shift` adds a window that ends with
    the video, so that it overlaps the one before by more than the others do; `partial` adds a window at the next
    stride, of which only the part inside the video has frames. A video shorter than d gives one window, at 0.

    ```text
    d = 4, s = 3    0123456789A        the video, 11 s
                    ====               0 to 4
                       ====            3 to 7
                          ====         6 to 10      drop ends here
                           ====        7 to 11      shift
                             ==..      9 to 13      partial
    ```

    Args:
        clip_duration: d, in seconds.
        stride: s, in seconds; None for windows side by side, s = d. Larger than d leaves gaps.
        tail: `drop`, `shift` or `partial`.
        augs_per_clip: How often each clip is given; `aug_index` counts them.

    Raises:
        ConfigError: A length that is not positive, or an unknown `tail`.

    >>> from eztorch.datasets.clip_samplers import all_clips
    >>> [str(clip.start) for clip in all_clips(SlidingWindowClipSampler(4, 3, tail="shift"), Fraction(11))]
    ['0', '3', '6', '7']
    """

    def __init__(
        self,
        clip_duration: float | str | Fraction,
        stride: float | str | Fraction | None = None,
        tail: str = "drop",
        augs_per_clip: int = 1,
    ) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.stride = self.clip_duration if stride is None else as_seconds(stride, "stride")
        self.tail = choose(_TAILS, tail, "tail")
        self.augs_per_clip = as_count(augs_per_clip, "augs_per_clip")

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the next window; see `ClipSampler`."""
        room = max(Fraction(duration) - self.clip_duration, Fraction(0))
        whole = int(room // self.stride) + 1
        tail = room if self.tail == "shift" else whole * self.stride
        has_tail = self.tail != "drop" and (whole - 1) * self.stride < room and tail < duration
        return placed_clip(
            info,
            lambda index: index * self.stride if index < whole else tail,
            self.clip_duration,
            num_clips=whole + has_tail,
            augs_per_clip=self.augs_per_clip,
        )


class UniformClipSampler:
    """The sliding windows of pytorchvideo: side by side, or overlapping where there is a stride.

    Args:
        clip_duration: Length of a window, in seconds.
        stride: Distance of the windows, in seconds, at most their length; None for their length.
        backpad_last: Whether a last window that ends with the video takes what is left behind the whole windows;
            otherwise it is left out.

    Raises:
        ConfigError: A length that is not positive, or a stride longer than the window.

    >>> from eztorch.datasets.clip_samplers import all_clips
    >>> [str(clip.start) for clip in all_clips(UniformClipSampler(2), Fraction(5))]
    ['0', '2']
    """

    def __init__(
        self,
        clip_duration: float | str | Fraction,
        stride: float | str | Fraction | None = None,
        backpad_last: bool = False,
    ) -> None:
        self.windows = SlidingWindowClipSampler(clip_duration, stride, "shift" if backpad_last else "drop")
        if self.windows.stride > self.windows.clip_duration:
            raise ConfigError(
                f"stride={stride!r} is longer than clip_duration={clip_duration!r}; UniformClipSampler leaves no gaps. "
                "SlidingWindowClipSampler can."
            )

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the next window; see `ClipSampler`."""
        return self.windows(last_end, duration, info, generator)


class ConstantClipsWithHalfOverlapPerVideoClipSampler:
    """Windows that overlap by half, over as many whole clip lengths as the video has.

    A video of length T has `2 floor(T / d) - 1` windows at 0, d/2, d and so on, d the length of a clip, and at least
    one: what is left behind the last whole clip length is left out.

    Args:
        clip_duration: d, in seconds.
        augs_per_clip: How often each clip is given; `aug_index` counts them.

    Raises:
        ConfigError: An argument that is not positive.

    >>> from eztorch.datasets.clip_samplers import all_clips
    >>> [str(clip.start) for clip in all_clips(ConstantClipsWithHalfOverlapPerVideoClipSampler(2), Fraction("5.9"))]
    ['0', '1', '2']
    """

    def __init__(self, clip_duration: float | str | Fraction, augs_per_clip: int = 1) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.augs_per_clip = as_count(augs_per_clip, "augs_per_clip")

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the next window; see `ClipSampler`."""
        return placed_clip(
            info,
            lambda index: index * self.clip_duration / 2,
            self.clip_duration,
            num_clips=max(2 * int(Fraction(duration) // self.clip_duration) - 1, 1),
            augs_per_clip=self.augs_per_clip,
        )


class MinimumFullCoverageClipSampler:
    """As few clips as cover the whole video: n = ceil(T / d) of them, spread evenly from its start to its end.

    T is the length of the video and d that of a clip. The clips overlap a little where d does not divide T.

    Args:
        clip_duration: d, in seconds.
        augs_per_clip: How often each clip is given; `aug_index` counts them.

    Raises:
        ConfigError: An argument that is not positive.

    >>> from eztorch.datasets.clip_samplers import all_clips
    >>> [str(clip.start) for clip in all_clips(MinimumFullCoverageClipSampler(4), Fraction(10))]
    ['0', '3', '6']
    """

    def __init__(self, clip_duration: float | str | Fraction, augs_per_clip: int = 1) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.augs_per_clip = as_count(augs_per_clip, "augs_per_clip")

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the next clip; see `ClipSampler`."""
        num_clips = max(math.ceil(Fraction(duration) / self.clip_duration), 1)
        step = even_step(Fraction(duration), self.clip_duration, num_clips)
        return placed_clip(
            info,
            lambda index: index * step,
            self.clip_duration,
            num_clips=num_clips,
            augs_per_clip=self.augs_per_clip,
        )


class WholeVideoClipSampler:
    """The whole video as one clip. A frame filter of the decoder makes clips of videos of any length equally long.

    Args:
        augs_per_clip: How often the clip is given; `aug_index` counts them.

    Raises:
        ConfigError: A number of augmentations below 1.

    >>> WholeVideoClipSampler()(Fraction(0), Fraction(10), None)
    ClipInfo(start=Fraction(0, 1), end=Fraction(10, 1), clip_index=0, aug_index=0, is_last=True)
    """

    def __init__(self, augs_per_clip: int = 1) -> None:
        self.augs_per_clip = as_count(augs_per_clip, "augs_per_clip")

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the clip, once more for every augmentation; see `ClipSampler`."""
        return placed_clip(
            info, lambda index: Fraction(0), Fraction(duration), num_clips=1, augs_per_clip=self.augs_per_clip
        )
