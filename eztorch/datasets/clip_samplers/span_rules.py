"""Rules whose clips are a stretch of the video: frames at a fixed distance."""

from __future__ import annotations

from fractions import Fraction

import torch

from eztorch.datasets.clip_samplers.base import as_seconds
from eztorch.datasets.clip_samplers.frame_indices import (
    IntArray,
    even_start,
    random_below,
    repeats,
    strided,
    with_neighbours,
)
from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count


class DenseFrames:
    """Frames at a fixed distance: the frames x rate of SlowFast, "8 x 8".

    A clip spans `(num_frames - 1) sampling_rate + neighbours` frames. In a video of fewer frames each frame is shown as
    often as it takes (slow motion); starts then count the frames shown. A random clip starts anywhere in the room R
    that is left; of n fixed clips, clip i starts at `round(R i / (n - 1))`, the last ending with the video; a single
    one in the middle. This is PyVideoAI's dense sampling.

    ```text
    num_frames=4, sampling_rate=3     0..3..6..9          start 0
    one crop of a video of 20         .....5..8..b..e.... start (10 + 1) // 2 = 5
    video of 4 frames, span 10        0..1..2..3          each shown 3 times
    ```

    Args:
        num_frames: Frames of a clip.
        sampling_rate: Distance of its frames; 1 takes consecutive ones.
        neighbours: How many consecutive frames stand for each of them: 5 for stacks of optical flow. A clip then has
            `num_frames x neighbours` frames. In a short video the last frame repeats where there are no more.
        tight: Whether the span ends with the last frame taken. Otherwise it is `num_frames x sampling_rate`, so that
            the frames behind the last one taken also have to be there.

    Raises:
        ConfigError: An argument that is not positive, or neighbours with a span that is not tight.

    >>> DenseFrames(4, 3).crop(20, Fraction(25), 0, 1)
    array([ 5,  8, 11, 14])
    """

    def __init__(self, num_frames: int, sampling_rate: int, neighbours: int = 1, tight: bool = True) -> None:
        self.num_frames = as_count(num_frames, "num_frames")
        self.sampling_rate = as_count(sampling_rate, "sampling_rate")
        self.neighbours = as_count(neighbours, "neighbours")
        if not tight and neighbours > 1:
            raise ConfigError(f"neighbours={neighbours} needs tight=true: frames behind a clip are part of it.")
        self.tight = tight

    def span(self, fps: Fraction) -> int:
        """Return how many frames a clip spans; see `SpanRule`."""
        if self.tight:
            return (self.num_frames - 1) * self.sampling_rate + self.neighbours
        return self.num_frames * self.sampling_rate

    def at(self, total: int, fps: Fraction, start: int) -> IntArray:
        """Return the frames of the clip at a start; see `SpanRule`. In a short video it counts the frames shown."""
        shown = strided(start, self.num_frames, self.sampling_rate)
        return with_neighbours(shown // repeats(total, self.span(fps)), self.neighbours, total)

    def random(self, total: int, fps: Fraction, generator: torch.Generator | None = None) -> IntArray:
        """Return the frames of a random clip; see `FrameRule`."""
        (start,) = random_below(self._room(total, fps) + 1, 1, generator)
        return self.at(total, fps, int(start))

    def crop(self, total: int, fps: Fraction, index: int, num_crops: int) -> IntArray:
        """Return the frames of a fixed clip; see `FrameRule`."""
        return self.at(total, fps, even_start(self._room(total, fps), index, num_crops))

    def _room(self, total: int, fps: Fraction) -> int:
        return total * repeats(total, self.span(fps)) - self.span(fps)


class IntervalFrames:
    """Frames at a fixed distance in time, whatever the frame rate of the video (EssentialMC2, `interval`).

    A clip spans `S = num_frames interval fps / target_fps` frames of the video; its frames are spread evenly from its
    start s to s + S - 1, rounded down and kept inside the video, so that in a video shorter than S the last frame
    repeats. With R = max(N - S, 0), N the number of frames of the video, a random clip starts at a draw of U(0, R), of
    n fixed clips clip i starts at `R i / (n - 1)`, and a single one at R / 2.

    EssentialMC2 itself starts clip i at `R i / n`, so that no clip ever reaches the end of the video; `reach_end=false`
    does so too. A clip of one frame is any frame of the video when it is random. EssentialMC2 draws it in tests as
    well; here a fixed clip is at its place.

    ```text
    num_frames=4, interval=2, target_fps=30
    video of 30 frames a second     0.2.4..7       S = 8
    video of 60 frames a second     0....5....A....F    S = 16
    ```

    Args:
        num_frames: Frames of a clip.
        interval: Distance of its frames, in frames of a video of `target_fps`.
        target_fps: Frame rate that the interval is meant for.
        minus_interval: Spread the frames up to s + S - `interval` instead of s + S - 1.
        reach_end: Whether the last fixed clip ends with the video.

    Raises:
        ConfigError: An argument that is not positive.

    >>> IntervalFrames(4, interval=2).crop(30, Fraction(30), 2, 3)
    array([22, 24, 26, 29])
    """

    def __init__(
        self,
        num_frames: int,
        interval: int = 4,
        target_fps: float = 30,
        minus_interval: bool = False,
        reach_end: bool = True,
    ) -> None:
        self.num_frames = as_count(num_frames, "num_frames")
        self.interval = as_count(interval, "interval")
        self.target_fps = float(as_seconds(target_fps, "target_fps"))
        self.minus_interval = minus_interval
        self.reach_end = reach_end

    def span(self, fps: Fraction) -> float:
        """Return how many frames a clip spans; see `SpanRule`."""
        return self.num_frames * self.interval * float(fps) / self.target_fps

    def at(self, total: int, fps: Fraction, start: float) -> IntArray:
        """Return the frames of the clip at a start; see `SpanRule`."""
        end = start + self.span(fps) - (self.interval if self.minus_interval else 1)
        spread = torch.linspace(start, max(start, end), self.num_frames)
        return spread.clamp(0, total - 1).long().numpy()

    def random(self, total: int, fps: Fraction, generator: torch.Generator | None = None) -> IntArray:
        """Return the frames of a random clip; see `FrameRule`."""
        if self.num_frames == 1:
            return random_below(total, 1, generator)
        share = torch.rand((), dtype=torch.float64, generator=generator).item()
        return self.at(total, fps, share * self._room(total, fps))

    def crop(self, total: int, fps: Fraction, index: int, num_crops: int) -> IntArray:
        """Return the frames of a fixed clip; see `FrameRule`."""
        room = self._room(total, fps)
        steps = num_crops - 1 if self.reach_end else num_crops
        return self.at(total, fps, room / 2 if num_crops == 1 else room * index / steps)

    def _room(self, total: int, fps: Fraction) -> float:
        return max(total - self.span(fps), 0.0)
