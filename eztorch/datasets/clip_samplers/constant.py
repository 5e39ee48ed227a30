"""Clips at fixed places, for evaluation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch

from eztorch.datasets.clip_samplers.base import ClipInfo, as_seconds, even_step, placed_clip
from eztorch.utils.values import as_count


class ConstantClipsPerVideoSampler:
    """The same number of evenly spaced clips from every video, each of them given once for every augmentation.

    Clip i of n starts at `i (T - d) / (n - 1)` seconds, T the length of the video and d that of a clip; a single clip,
    and every clip of a video shorter than d, starts at 0. So a video of any length gives
    `clips_per_video x augs_per_clip` samples.

    Args:
        clip_duration: Length of a clip, in seconds.
        clips_per_video: Number of clips, n.
        augs_per_clip: How often each clip is given; `aug_index` counts them.

    Raises:
        ConfigError: An argument that is not positive.

    >>> sampler = ConstantClipsPerVideoSampler(2, clips_per_video=1, augs_per_clip=3)
    >>> sampler(Fraction(0), Fraction(10), None)
    ClipInfo(start=Fraction(0, 1), end=Fraction(2, 1), clip_index=0, aug_index=0, is_last=False)
    """

    def __init__(self, clip_duration: float | str | Fraction, clips_per_video: int, augs_per_clip: int = 1) -> None:
        self.clip_duration = as_seconds(clip_duration, "clip_duration")
        self.clips_per_video = as_count(clips_per_video, "clips_per_video")
        self.augs_per_clip = as_count(augs_per_clip, "augs_per_clip")

    def __call__(
        self, last_end: Fraction, duration: Fraction, info: Any, generator: torch.Generator | None = None
    ) -> ClipInfo:
        """Return the next clip; see `ClipSampler`."""
        step = even_step(Fraction(duration), self.clip_duration, self.clips_per_video)
        return placed_clip(
            info,
            lambda index: index * step,
            self.clip_duration,
            num_clips=self.clips_per_video,
            augs_per_clip=self.augs_per_clip,
        )
