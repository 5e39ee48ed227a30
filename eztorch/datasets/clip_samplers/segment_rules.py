"""Rules whose clips are spread over the whole video: one frame of each of its segments."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from eztorch.datasets.clip_samplers.frame_indices import (
    IntArray,
    random_below,
    repeats,
    segment_bounds,
    strided,
    with_neighbours,
)
from eztorch.utils.names import choose
from eztorch.utils.values import as_count


class SparseFrames:
    """Frames spread over the whole video: one of each of `num_frames` equal segments.

    With N the number of frames of the video, n that of a clip and L the neighbours, `at` chooses between two rules:

    - `start` (PyVideoAI): segment i is `floor(M i / n)` to `floor(M (i + 1) / n)`, M = N - L + 1. A random clip draws
      one frame of each segment, a fixed one takes the first of each. Where M is below n, each frame is shown as often
      as it takes.
    - `centre` (TSN): a random clip draws one frame of each of n segments of the whole length `M // n`, a fixed one
      takes `floor(M (i + 1/2) / n)`. Where M is below n, a random clip draws from the first `N - min(L, 5) + 1`
      frames: segment by segment as long as n of them are enough, otherwise n of them, sorted. Where N is at most
      n + L - 1 (in a random clip: n), all segments start at frame 0.

    Of C fixed clips, clip c takes the segments c, c + C, c + 2C and so on of n x C; a single one is the rule above.

    ```text
    N = 12, n = 4    012|345|678|9AB
    start            0   3   6   9
    centre            1   4   7   A
    ```

    `centre` with 5 neighbours is the sampling of TDN, with 15 that of TDN on grey-scale stacks.

    Args:
        num_frames: Frames (segments) of a clip.
        at: `start` or `centre`.
        neighbours: How many consecutive frames stand for each of them; the last frame of a video repeats where there
            are no more. A clip then has `num_frames x neighbours` frames.

    Raises:
        ConfigError: An argument that is not positive, or an unknown `at`.

    >>> SparseFrames(4).crop(12, Fraction(25), 0, 1), SparseFrames(4, "centre").crop(12, Fraction(25), 0, 1)
    (array([0, 3, 6, 9]), array([ 1,  4,  7, 10]))
    """

    def __init__(self, num_frames: int, at: str = "start", neighbours: int = 1) -> None:
        self.num_frames = as_count(num_frames, "num_frames")
        self.neighbours = as_count(neighbours, "neighbours")
        self.is_centred = choose({"start": False, "centre": True}, at, "at")

    def random(self, total: int, fps: Fraction, generator: torch.Generator | None = None) -> IntArray:
        """Return the frames of a random clip; see `FrameRule`."""
        chosen = (self._random_tsn if self.is_centred else self._random_of_segments)(total, generator)
        return with_neighbours(chosen, self.neighbours, total)

    def crop(self, total: int, fps: Fraction, index: int, num_crops: int) -> IntArray:
        """Return the frames of a fixed clip; see `FrameRule`."""
        parts = np.arange(index, self.num_frames * num_crops, num_crops)
        if self.is_centred:
            tick = (total - self.neighbours + 1) / (self.num_frames * num_crops)
            fits = total > self.num_frames + self.neighbours - 1
            chosen = (tick / 2 + tick * parts).astype(np.int64) if fits else np.zeros_like(parts)
        else:
            first, repeat = self._firsts(total)
            chosen = segment_bounds(first * repeat, self.num_frames * num_crops)[parts] // repeat
        return with_neighbours(chosen, self.neighbours, total)

    def _firsts(self, total: int) -> tuple[int, int]:
        """Return how many frames have all their neighbours, at least one, and how often each of them is shown."""
        firsts = max(total - self.neighbours + 1, 1)
        return firsts, repeats(firsts, self.num_frames)

    def _random_of_segments(self, total: int, generator: torch.Generator | None) -> IntArray:
        firsts, repeat = self._firsts(total)
        bounds = segment_bounds(firsts * repeat, self.num_frames)
        drawn = random_below(np.diff(bounds), self.num_frames, generator)
        return (bounds[:-1] + drawn) // repeat

    def _random_tsn(self, total: int, generator: torch.Generator | None) -> IntArray:
        firsts = total - self.neighbours + 1
        if firsts < self.num_frames:
            firsts = max(total - min(self.neighbours, 5) + 1, 1)
        length = firsts // self.num_frames
        if length:
            return strided(0, self.num_frames, length) + random_below(length, self.num_frames, generator)
        bound = firsts if total > self.num_frames else 1
        return np.sort(random_below(bound, self.num_frames, generator))


class SegmentFrames:
    """Frames spread over the whole video: one of each of `num_frames` equal segments (EssentialMC2, `segment`).

    Segment i goes from `N i / n` to `N (i + 1) / n`, N the number of frames of the video and n that of a clip. A random
    clip draws a time inside each segment; of C fixed clips, clip c takes what lies `(c + 1) / C` into each, a single
    one its middle. Times are rounded to the nearest frame, halves to even, and kept inside the video. `SparseFrames`
    differs in its rounding and in where several fixed clips lie.

    Args:
        num_frames: Frames (segments) of a clip.

    Raises:
        ConfigError: A number of frames below 1.

    >>> SegmentFrames(4).crop(12, Fraction(25), 0, 1), SegmentFrames(4).crop(12, Fraction(25), 2, 3)
    (array([ 2,  4,  8, 10]), array([ 3,  6,  9, 11]))
    """

    def __init__(self, num_frames: int) -> None:
        self.num_frames = as_count(num_frames, "num_frames")

    def random(self, total: int, fps: Fraction, generator: torch.Generator | None = None) -> IntArray:
        """Return the frames of a random clip; see `FrameRule`."""
        bounds = self._bounds(total)
        return _nearest(bounds[:-1] + bounds.diff() * torch.rand(self.num_frames, generator=generator), total)

    def crop(self, total: int, fps: Fraction, index: int, num_crops: int) -> IntArray:
        """Return the frames of a fixed clip; see `FrameRule`."""
        bounds = self._bounds(total)
        if num_crops == 1:
            return _nearest((bounds[:-1] + bounds[1:]) / 2, total)
        return _nearest(bounds[:-1] + bounds.diff() * (index + 1) / num_crops, total)

    def _bounds(self, total: int) -> Tensor:
        return torch.linspace(0, total, self.num_frames + 1)


def _nearest(times: Tensor, total: int) -> IntArray:
    """Round times, counted in frames, to frames of the video."""
    return times.clamp(0, total - 1).round().long().numpy()
