"""When the frames of a video are shown. Frames are numbered from 0 in the order of presentation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.reader import Segment

Numbers: TypeAlias = "NDArray[np.int64]"


class Timeline(ABC):
    """When the frames of a video are shown."""

    fps: Fraction
    duration: Fraction
    num_frames: int

    @abstractmethod
    def rank(self, seconds: Fraction, *, inclusive: bool = False) -> int:
        """Count the frames that begin before a time, `inclusive` also those that begin at it.

        Raises:
            UnreadableError: The video cannot be read up to that time.
        """

    @abstractmethod
    def begin(self, index: int) -> Fraction:
        """Return exactly when a frame begins, in seconds from the first of the video."""

    @abstractmethod
    def seconds(self, indices: Numbers) -> NDArray[np.float64]:
        """Return when frames begin, in seconds from the first of the video."""


class RegularTimeline(Timeline):
    """Frames at a constant rate: frame i begins at i / fps.

    >>> RegularTimeline(10, Fraction(30)).rank(Fraction(1, 10)), RegularTimeline(10, Fraction(30)).rank(Fraction(9))
    (3, 10)
    """

    def __init__(self, num_frames: int, fps: Fraction) -> None:
        self.num_frames = num_frames
        self.fps = fps
        self.duration = num_frames / fps

    def rank(self, seconds: Fraction, *, inclusive: bool = False) -> int:
        """Count the frames that begin before a time, `inclusive` also those that begin at it."""
        position = Fraction(seconds) * self.fps
        before = position.__floor__() + 1 if inclusive else position.__ceil__()
        return min(max(before, 0), self.num_frames)

    def begin(self, index: int) -> Fraction:
        """Return exactly when a frame begins."""
        return index / self.fps

    def seconds(self, indices: Numbers) -> NDArray[np.float64]:
        """Return when frames begin."""
        return indices * self.fps.denominator / self.fps.numerator


class SegmentTimeline(Timeline):
    """The frames of a part of a video, as if there were no others.

    Args:
        whole: The timeline of the video.
        segment: The part.

    Raises:
        UnreadableError: The segment is empty or lies outside of the video.

    >>> part = SegmentTimeline(RegularTimeline(10, Fraction(5)), Segment(4, 7, "frames"))
    >>> part.num_frames, part.duration, part.rank(Fraction(1, 5))
    (3, Fraction(3, 5), 1)
    """

    def __init__(self, whole: Timeline, segment: Segment) -> None:
        start, end, unit = segment
        length = whole.num_frames if unit == "frames" else whole.duration
        if not 0 <= start < min(end, length):
            raise UnreadableError(
                f"the segment from {_number(start)} to {_number(end)} {unit} lies outside of the video, "
                f"which has {_number(length)} {unit}"
            )
        if unit == "frames":
            self.first, stop = int(start), int(min(end, length))
        else:
            self.first, stop = frames_of_span(whole, Fraction(start), Fraction(end))
        self._whole = whole
        self._start = whole.begin(self.first)
        self.fps = whole.fps
        self.num_frames = stop - self.first
        self.duration = (whole.duration if stop == whole.num_frames else whole.begin(stop)) - self._start

    def rank(self, seconds: Fraction, *, inclusive: bool = False) -> int:
        """Count the frames that begin before a time; see `Timeline.rank`."""
        if seconds >= self.duration:
            return self.num_frames
        return max(self._whole.rank(self._start + seconds, inclusive=inclusive) - self.first, 0)

    def begin(self, index: int) -> Fraction:
        """Return exactly when a frame begins."""
        return self._whole.begin(self.first + index) - self._start

    def seconds(self, indices: Numbers) -> NDArray[np.float64]:
        """Return when frames begin."""
        return self._whole.seconds(self.first + indices) - float(self._start)


def frames_of_span(timeline: Timeline, start: Fraction, end: Fraction) -> tuple[int, int]:
    """Return the first frame that begins in [start, end) and the one behind the last, or what is shown at `start`."""
    first, stop = timeline.rank(start), timeline.rank(end)
    if first >= stop:
        first = max(timeline.rank(start, inclusive=True) - 1, 0)
        stop = first + 1
    return first, stop


def _number(value: Fraction | int) -> str:
    return f"{float(value):g}" if isinstance(value, Fraction) else str(value)
