"""From spans to clips: what all decoders share. A decoder adds a timeline and a source of frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eztorch.datasets.decoders.errors import UnreadableError, brief
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.reader import Clip, FrameNumbers, Segment, VideoDecodeError
from eztorch.datasets.decoders.scaling import scale_short_side
from eztorch.datasets.decoders.source import FrameSource
from eztorch.datasets.decoders.time_difference import difference_pairs, time_difference
from eztorch.datasets.decoders.timeline import Numbers, SegmentTimeline, Timeline, frames_of_span
from eztorch.datasets.decoders.timeout import Watch


class ClipReader:
    """The `VideoReader` of every decoder: chooses frames on a timeline, reads them from a source, makes clips.

    Frames are written once, as they come, into the memory of the clips that show them.

    Args:
        path: The video, for messages.
        timeline: When the frames are shown.
        source: Where the frames come from.
        options: What is made of them.
        segment: The part of the video to which the reader is confined.
        watch: Ends calls that take too long.
        selected: From the frame numbers that `get_frames` is asked for, and the number of frames there are, to those
            that are read; by default the same.

    Raises:
        VideoDecodeError: The segment lies outside of the video.
    """

    def __init__(
        self,
        path: str,
        *,
        timeline: Timeline,
        source: FrameSource,
        options: ClipOptions,
        segment: Segment | None,
        watch: Watch,
        selected: Callable[[FrameNumbers, int], FrameNumbers] = lambda asked, _: asked,
    ) -> None:
        self._path = path
        self._source = source
        self._options = options
        self._watch = watch
        self._selected = selected
        self._timeline, self._first = timeline, 0  # the frame of the video that is number 0 of the segment
        if segment is not None:
            with self._blame():
                part = SegmentTimeline(timeline, segment)
            self._timeline, self._first = part, part.first

    @property
    def decoder(self) -> str:
        """Name of the decoder that reads the video; of `auto` the one that it chose last."""
        return self._source.decoder

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
        return self._watched(lambda: self._decode([self._choose_span(start, end, generator) for start, end in spans]))

    def get_clip(self, start: Fraction, end: Fraction, generator: torch.Generator | None = None) -> Clip:
        """Decode one span; see `VideoReader.get_clips`."""
        return self.get_clips([(start, end)], generator)[0]

    def get_frames(self, selections: Sequence[FrameNumbers], generator: torch.Generator | None = None) -> list[Clip]:
        """Decode frames that were chosen by their numbers; see `VideoReader.get_frames`."""
        return self._watched(lambda: self._decode([self._choose_frames(numbers, generator) for numbers in selections]))

    def close(self) -> None:
        """Let go of the file; where a call was given up, the thread that still reads does so when it ends."""
        if not self._watch.left_behind:
            self.let_go()

    def let_go(self) -> None:
        """Let go of the file, whoever reads it."""
        self._source.close()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watched(self, work: Callable[[], list[Clip]]) -> list[Clip]:
        return self._watch.call(work, decoder=lambda: self.decoder, late=lambda _: self.let_go())

    def _choose_span(self, start: Fraction, end: Fraction, generator: torch.Generator | None) -> _Choice:
        with self._blame():
            first, stop = frames_of_span(self._timeline, start, end)
        indices = np.arange(first, stop, dtype=np.int64)
        if self._options.frame_filter is not None:
            indices = indices[_checked_positions(self._options.frame_filter(stop - first, generator), stop - first)]
        return self._choose(indices, generator)

    def _choose_frames(self, selection: FrameNumbers, generator: torch.Generator | None) -> _Choice:
        total = self._timeline.num_frames
        return self._choose(_checked_selection(self._selected(selection, total), total), generator)

    def _choose(self, indices: Numbers, generator: torch.Generator | None) -> _Choice:
        probability = self._options.time_difference_prob
        drawn = probability > 0 and torch.rand((), generator=generator).item() < probability
        needed = np.concatenate(difference_pairs(indices, self._timeline.num_frames)) if drawn else indices
        with self._blame():
            return _Choice(indices, self._timeline.seconds(indices), needed, drawn)

    def _decode(self, choices: Sequence[_Choice]) -> list[Clip]:
        if not choices:
            return []
        shown: dict[int, list[tuple[int, int]]] = defaultdict(list)  # frame: its places, (clip, position) each
        for number, choice in enumerate(choices):
            for position, index in enumerate(choice.needed.tolist()):
                shown[index].append((number, position))
        canvases: list[Tensor] = []
        for index, frame in zip(sorted(shown), self._frames(sorted(shown)), strict=True):
            if not canvases:
                canvases = [self._canvas(len(choice.needed), frame) for choice in choices]
            if frame.shape != canvases[0].shape[1:]:
                raise ValueError(f"decoder_args.transform gives frames of {tuple(frame.shape)} beside others.")
            for number, position in shown[index]:
                canvases[number][position].copy_(frame)
        return [self._clip(choice, canvas) for choice, canvas in zip(choices, canvases, strict=True)]

    def _frames(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield frames as they are put into clips."""
        with self._blame():
            frames = iter(self._source.read([self._first + index for index in indices]))
        shape: torch.Size | None = None
        while True:
            with self._blame():
                frame = next(frames, None)
                if frame is None:
                    return
                if frame.shape != (shape or frame.shape):
                    raise UnreadableError("its frames are not all of the same size")
            shape = frame.shape
            if self._options.short_side is not None:
                frame = scale_short_side(frame, self._options.short_side)
            yield frame if self._options.transform is None else self._options.transform(frame)

    def _canvas(self, num_frames: int, frame: Tensor) -> Tensor:
        """Return memory for frames, shape (T, C, H, W), in the order that a frame has: nothing is transposed."""
        dtype = torch.float32 if self._options.decode_float else frame.dtype
        channels, height, width = frame.shape
        if frame.stride(0) == 1:  # channels last
            return torch.empty((num_frames, height, width, channels), dtype=dtype).permute(0, 3, 1, 2)
        return torch.empty((num_frames, channels, height, width), dtype=dtype)

    def _clip(self, choice: _Choice, canvas: Tensor) -> Clip:
        video = canvas.transpose(0, 1)
        if choice.time_difference:
            video = time_difference(*video.chunk(2, dim=1))
            video = video if self._options.decode_float else video.round().to(torch.uint8)
        return Clip(
            video=video,
            pts=torch.from_numpy(choice.seconds),
            indices=torch.from_numpy(choice.indices),
            time_difference=choice.time_difference,
        )

    @contextmanager
    def _blame(self) -> Iterator[None]:
        blamed: tuple[type[Exception], ...] = (UnreadableError, OSError, *self._source.failures)
        try:
            yield
            self._watch.check()
        except blamed as error:
            raise VideoDecodeError(self._path, self._source.decoder, brief(error)) from error


@dataclass(frozen=True)
class _Choice:
    """The frames that are kept of a span, and those that it takes: of a time difference all x[t], then all x[t+1]."""

    indices: Numbers
    seconds: NDArray[np.float64]
    needed: Numbers
    time_difference: bool


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
