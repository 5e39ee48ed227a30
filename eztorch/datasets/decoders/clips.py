"""From spans to clips: what all decoders share. A decoder adds a timeline and a source of frames."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eztorch.datasets.decoders.frame_filters import FrameFilter, build_frame_filter
from eztorch.datasets.decoders.reader import Clip, FrameNumbers, Segment, VideoDecodeError
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

Numbers: TypeAlias = "NDArray[np.int64]"


class UnreadableError(Exception):
    """What a source says when it cannot give a frame; the reader adds the path and the decoder."""


class Timeline(ABC):
    """When the frames of a video are shown. Frames are numbered from 0 in the order of presentation."""

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


def frames_of_span(timeline: Timeline, start: Fraction, end: Fraction) -> tuple[int, int]:
    """Return the first frame that begins in [start, end) and the one behind the last, or what is shown at `start`."""
    first, stop = timeline.rank(start), timeline.rank(end)
    if first >= stop:
        first = max(timeline.rank(start, inclusive=True) - 1, 0)
        stop = first + 1
    return first, stop


class SegmentTimeline(Timeline):
    """The frames of a part of a video, as if there were no others.

    Args:
        whole: The timeline of the video.
        segment: The part.

    Raises:
        UnreadableError: The segment is empty or lies outside of the video.
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


def _number(value: Fraction | int) -> str:
    return f"{float(value):g}" if isinstance(value, Fraction) else str(value)


class FrameSource(ABC):
    """Gives the pictures of an open video."""

    # What else than `UnreadableError` reading may raise when the video is at fault.
    failures: tuple[type[Exception], ...] = ()

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield frames, uint8, shape (C, H, W), RGB, in the order asked.

        Args:
            indices: Frame numbers, rising, without repetition.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""


@dataclass(frozen=True)
class ClipOptions:
    """The arguments that all decoders take.

    Attributes:
        frame_filter: Chooses the frames of a span that are kept; None keeps all.
        time_difference_prob: Probability that a clip is made of differences in time, drawn for each clip.
        decode_float: Give float32 instead of uint8; the range stays 0 to 255.
        transform: Applied to each frame, uint8 of shape (C, H, W), before the frames of a clip are stacked.
    """

    frame_filter: FrameFilter | None = None
    time_difference_prob: float = 0.0
    decode_float: bool = False
    transform: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def build(
        cls,
        *,
        frame_filter: Mapping[str, Any] | FrameFilter | None = None,
        time_difference_prob: float = 0.0,
        decode_float: bool = False,
        transform: Any = None,
    ) -> ClipOptions:
        """Build the options from configuration values.

        Raises:
            ConfigError: A value cannot be used.
        """
        if not isinstance(time_difference_prob, int | float) or not 0 <= time_difference_prob <= 1:
            raise ConfigError(f"time_difference_prob={time_difference_prob!r} must be a probability, from 0 to 1.")
        return cls(build_frame_filter(frame_filter), float(time_difference_prob), decode_float, build(transform))


def difference_pairs(indices: Numbers, num_frames: int) -> tuple[Numbers, Numbers]:
    """Return which two frames of the video make the difference of each kept frame: itself and its successor.

    The last frame of a video has none and repeats the difference before it; in a video of one frame nothing moves.

    >>> difference_pairs(np.array([0, 1, 9]), 10)
    (array([0, 1, 8]), array([1, 2, 9]))
    >>> difference_pairs(np.array([0]), 1)
    (array([0]), array([0]))
    """
    minuends = np.minimum(indices, max(num_frames - 2, 0))
    return minuends, np.minimum(minuends + 1, num_frames - 1)


def time_difference(minuends: Tensor, subtrahends: Tensor) -> Tensor:
    """Return (x[t] - x[t+1] + 255) / 2 of the grey pictures x (luma of ITU-R BT.601), with three equal channels.

    Args:
        minuends: Frames x[t], shape (C, T, H, W), 0 to 255.
        subtrahends: Frames x[t+1], same shape.

    Returns:
        float32, shape (3, T, H, W), 0 to 255; 127.5 where nothing moves.
    """
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)
    difference = (minuends.float() * weights).sum(0) - (subtrahends.float() * weights).sum(0)
    return ((difference + 255) / 2).expand(3, -1, -1, -1).contiguous()


def stack_frames(frames: Sequence[Tensor]) -> Tensor:
    """Stack frames (C, H, W) to (C, T, H, W) in the order of their memory, so that nothing is transposed."""
    if frames[0].stride(0) == 1:  # channels last
        return torch.stack([frame.permute(1, 2, 0) for frame in frames]).permute(3, 0, 1, 2)
    return torch.stack(list(frames)).transpose(0, 1)


class ClipReader:
    """The `VideoReader` of every decoder: chooses frames on a timeline, reads them from a source, makes clips.

    Args:
        path: The video, for messages.
        decoder: Name of the decoder, for messages.
        timeline: When the frames are shown.
        source: Where the frames come from.
        options: What is made of them.
        segment: The part of the video to which the reader is confined.

    Raises:
        VideoDecodeError: The segment lies outside of the video.
    """

    def __init__(
        self,
        path: str,
        decoder: str,
        *,
        timeline: Timeline,
        source: FrameSource,
        options: ClipOptions,
        segment: Segment | None = None,
    ) -> None:
        self._source = source
        self._options = options
        self._blame = functools.partial(blame, path, decoder, *source.failures)
        self._timeline, self._first = timeline, 0  # the frame of the video that is number 0 of the segment
        if segment is not None:
            with self._blame(), ExitStack() as on_error:
                on_error.callback(source.close)
                part = SegmentTimeline(timeline, segment)
                self._timeline, self._first = part, part.first
                on_error.pop_all()

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""
        return self._timeline.duration

    @property
    def fps(self) -> Fraction:
        """Frames a second, the average when the rate varies."""
        return self._timeline.fps

    @property
    def num_frames(self) -> int | None:
        """Number of frames."""
        return self._timeline.num_frames

    def get_clips(
        self, spans: Sequence[tuple[Fraction, Fraction]], generator: torch.Generator | None = None
    ) -> list[Clip]:
        """Decode several spans in one pass; see `VideoReader.get_clips`."""
        return self._decode([self._choose_span(start, end, generator) for start, end in spans])

    def get_clip(self, start: Fraction, end: Fraction, generator: torch.Generator | None = None) -> Clip:
        """Decode one span; see `VideoReader.get_clips`."""
        return self.get_clips([(start, end)], generator)[0]

    def get_frames(self, selections: Sequence[FrameNumbers], generator: torch.Generator | None = None) -> list[Clip]:
        """Decode frames that were chosen by their numbers; see `VideoReader.get_frames`."""
        chosen = [_checked_selection(selection, self._timeline.num_frames) for selection in selections]
        return self._decode([self._choose(indices, generator) for indices in chosen])

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _choose_span(self, start: Fraction, end: Fraction, generator: torch.Generator | None) -> _Choice:
        with self._blame():
            first, stop = frames_of_span(self._timeline, start, end)
        indices = np.arange(first, stop, dtype=np.int64)
        if self._options.frame_filter is not None:
            indices = indices[_checked_positions(self._options.frame_filter(stop - first, generator), stop - first)]
        return self._choose(indices, generator)

    def _choose(self, indices: Numbers, generator: torch.Generator | None) -> _Choice:
        probability = self._options.time_difference_prob
        drawn = probability > 0 and torch.rand((), generator=generator).item() < probability
        pairs = difference_pairs(indices, self._timeline.num_frames) if drawn else None
        with self._blame():
            return _Choice(indices, self._timeline.seconds(indices), pairs)

    def _decode(self, choices: Sequence[_Choice]) -> list[Clip]:
        if not choices:
            return []
        needed = sorted({index for choice in choices for index in choice.needed})
        with self._blame():
            frames = dict(zip(needed, self._source.read([self._first + index for index in needed]), strict=True))
            if len({frame.shape for frame in frames.values()}) > 1:
                raise UnreadableError("its frames are not all of the same size")
        if self._options.transform is not None:
            frames = {index: self._options.transform(frame) for index, frame in frames.items()}
        return [self._assemble(choice, frames) for choice in choices]

    def _assemble(self, choice: _Choice, frames: Mapping[int, Tensor]) -> Clip:
        def stack(indices: Numbers) -> Tensor:
            return stack_frames([frames[int(index)] for index in indices])

        if choice.pairs is None:
            video = stack(choice.indices)
            video = video.float() if self._options.decode_float else video
        else:
            video = time_difference(*map(stack, choice.pairs))
            video = video if self._options.decode_float else video.round().to(torch.uint8)
        return Clip(
            video=video,
            pts=torch.from_numpy(choice.seconds),
            indices=torch.from_numpy(choice.indices),
            time_difference=choice.pairs is not None,
        )


@dataclass(frozen=True)
class _Choice:
    """The frames that are kept of a span and, for a time difference, the pairs that it is made of."""

    indices: Numbers
    seconds: NDArray[np.float64]
    pairs: tuple[Numbers, Numbers] | None

    @property
    def needed(self) -> list[int]:
        return [int(index) for index in (self.indices if self.pairs is None else np.concatenate(self.pairs))]


def _checked_positions(positions: Tensor, num_frames: int) -> Numbers:
    """Return the answer of a frame filter, after a look at it: filters may be the user's own."""
    kept = torch.as_tensor(positions)
    if kept.dtype != torch.int64 or kept.dim() != 1 or len(kept) == 0:
        raise ValueError(f"The frame filter must return int64 positions of shape (T,), T > 0, not {positions!r}.")
    if int(kept.min()) < 0 or int(kept.max()) >= num_frames:
        raise ValueError(f"The frame filter chose {kept.tolist()} among {num_frames} frames.")
    return kept.numpy()


def _checked_selection(selection: FrameNumbers, num_frames: int) -> Numbers:
    indices = np.asarray(selection)
    if indices.ndim != 1 or len(indices) == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"A selection of frames must be a sequence of whole numbers, not {selection!r}.")
    if indices.min() < 0 or indices.max() >= num_frames:
        raise ValueError(f"The selection {indices.tolist()} has numbers outside of a video of {num_frames} frames.")
    return indices.astype(np.int64)


@contextmanager
def blame(path: str, decoder: str, *failures: type[Exception]) -> Iterator[None]:
    """Turn what a source raises about a video into a `VideoDecodeError` that names the video and the decoder."""
    blamed: tuple[type[Exception], ...] = (UnreadableError, OSError, *failures)
    try:
        yield
    except blamed as error:
        raise VideoDecodeError(path, decoder, brief(error)) from error


def brief(error: Exception) -> str:
    """Return the first line of an error, without the number and the file name that the system puts around it."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().partition("\n")[0]
