"""An end to decodes that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Generic, TypeVar

import torch

from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.reader import Clip, FrameNumbers, VideoDecodeError, VideoReader

T = TypeVar("T")


class Deadline:
    """The time at which the call in progress has to be done, looked at between packets and between frames.

    Args:
        seconds: How long a call may take; None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Begin a call."""
        self._end = None if self.seconds is None else time.monotonic() + self.seconds

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            UnreadableError: There is none left.
        """
        if self._end is not None and time.monotonic() > self._end:
            raise UnreadableError(self.reason)

    @property
    def reason(self) -> str:
        """What to say when there is no time left."""
        return f"it took longer than decode_timeout_s={self.seconds:g} seconds"


def open_within(deadline: Deadline, path: str, decoder: str, opener: Callable[[], VideoReader]) -> VideoReader:
    """Open a video, and let neither that nor any later call take longer than the deadline allows.

    With a limit each call runs in a thread of its own, because no library can be interrupted while it waits for a disk
    or decodes. When the time is up the thread is left behind, and the caller goes on. It ends, and closes the video, as
    soon as it notices: PyAV between two packets, TorchCodec and decord when their call returns. Until then it still
    takes the memory of the video and its share of the processor. Without a limit nothing of this happens.

    Args:
        deadline: The deadline, which `opener` and its reader look at too.
        path: The video, for messages.
        decoder: Name of the decoder, for messages.
        opener: Opens the video.

    Raises:
        VideoDecodeError: The video cannot be read, or not in time.
    """
    if deadline.seconds is None:
        return opener()
    watch = _Watch(deadline, path)
    reader = watch.call(opener, decoder=lambda: decoder, late=_close)
    return _WatchedReader(reader, watch)


def _close(opened: VideoReader | None) -> None:
    if opened is not None:
        opened.close()


class _Watch:
    """Runs calls in threads and leaves those behind that take too long."""

    def __init__(self, deadline: Deadline, path: str) -> None:
        self._deadline = deadline
        self._path = path
        self.left_behind = False

    def call(self, work: Callable[[], T], *, decoder: Callable[[], str], late: Callable[[T | None], object]) -> T:
        """Return what `work` returns; what it returns too late is given to `late`, None if it raised."""
        self._deadline.restart()
        task = _Task(work, late)
        thread = threading.Thread(target=task.run, name="eztorch-decode", daemon=True)
        thread.start()
        thread.join(self._deadline.seconds)
        if task.abandon():
            self.left_behind = True
            raise VideoDecodeError(self._path, decoder(), self._deadline.reason)
        return task.result()


class _Task(Generic[T]):
    def __init__(self, work: Callable[[], T], late: Callable[[T | None], object]) -> None:
        self._work, self._late = work, late
        self._lock = threading.Lock()
        self._done = self._abandoned = False
        self._answer: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:  # the caller raises it
            self._error = error
        with self._lock:
            self._done = True
        if self._abandoned:
            self._late(self._answer)

    def abandon(self) -> bool:
        """Leave the work behind unless it is done; say whether it is left."""
        with self._lock:
            self._abandoned = not self._done
        return self._abandoned

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # what the work returned


class _WatchedReader:
    """A reader whose calls are watched."""

    def __init__(self, reader: VideoReader, watch: _Watch) -> None:
        self._reader = reader
        self._watch = watch

    @property
    def decoder(self) -> str:
        return self._reader.decoder

    @property
    def duration(self) -> Fraction:
        return self._reader.duration

    @property
    def fps(self) -> Fraction:
        return self._reader.fps

    @property
    def num_frames(self) -> int | None:
        return self._reader.num_frames

    def get_clips(
        self, spans: Sequence[tuple[Fraction, Fraction]], generator: torch.Generator | None = None
    ) -> list[Clip]:
        return self._call(lambda: self._reader.get_clips(spans, generator))

    def get_clip(self, start: Fraction, end: Fraction, generator: torch.Generator | None = None) -> Clip:
        return self._call(lambda: self._reader.get_clip(start, end, generator))

    def get_frames(self, selections: Sequence[FrameNumbers], generator: torch.Generator | None = None) -> list[Clip]:
        return self._call(lambda: self._reader.get_frames(selections, generator))

    def close(self) -> None:
        if not self._watch.left_behind:  # else the thread that still reads closes it
            self._reader.close()

    def __enter__(self) -> _WatchedReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, work: Callable[[], T]) -> T:
        if self._watch.left_behind:
            raise RuntimeError("The video was given up because a call took too long; open it again.")
        return self._watch.call(work, decoder=lambda: self.decoder, late=lambda _: self._reader.close())
