"""The contract of the rules that say which frames make a clip."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol, runtime_checkable

import torch

from eztorch.datasets.clip_samplers.frame_indices import IntArray


@runtime_checkable
class FrameRule(Protocol):
    """Chooses the frames of clips by their numbers, 0-based; a video has at least one frame. Holds no state."""

    def random(self, total: int, fps: Fraction, generator: torch.Generator | None = None) -> IntArray:
        """Return the frames of a clip at a random place.

        Args:
            total: Number of frames of the video.
            fps: Its frames a second, the average where the rate varies.
            generator: Where random numbers are drawn from; None is torch's global generator.
        """

    def crop(self, total: int, fps: Fraction, index: int, num_crops: int) -> IntArray:
        """Return the frames of one of several clips at fixed places: its temporal crops.

        Args:
            total: Number of frames of the video.
            fps: Its frames a second, the average where the rate varies.
            index: Number of the clip.
            num_crops: Number of clips.
        """


@runtime_checkable
class SpanRule(FrameRule, Protocol):
    """A rule whose clips are a stretch of the video, which can be put anywhere."""

    def span(self, fps: Fraction) -> float:
        """Return how many frames of a video of that frame rate a clip spans, from its first to behind its last."""

    def at(self, total: int, fps: Fraction, start: int) -> IntArray:
        """Return the frames of the clip that starts at a frame; at 0 in a video shorter than the span."""
