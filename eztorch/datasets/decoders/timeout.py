"""An end to decodes that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.reader import VideoDecodeError

if TYPE_CHECKING:
    from eztorch.datasets.decoders.clips import ClipReader

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


class Watch:
    """Lets no call of a reader, its opening included, take longer than a deadline allows.

    With a limit each call runs in a thread of its own, because no library can be interrupted while it waits for a disk
    or decodes. When the time is up the thread is left behind, and the caller goes on. It ends, and lets go of the
    video, as soon as it notices: PyAV between two packets, TorchCodec and decord when their call returns. Until then it
    still takes the memory of the video and its share of the processor. Without a limit nothing of this happens.

    Args:
        deadline: The deadline, which what is called looks at too.
        path: The video, for messages.

    Attributes:
        left_behind: Whether a thread still has the video, which then lets go of it.
    """

    def __init__(self, deadline: Deadline, path: str) -> None:
        self._deadline = deadline
        self._path = path
        self.left_behind = False

    def check(self) -> None:
        """Go on only while there is time; see `Deadline.check`."""
        self._deadline.check()

    def open(self, decoder: str, opener: Callable[[], ClipReader]) -> ClipReader:
        """Return the reader that `opener` returns.

        Args:
            decoder: Name of the decoder, for messages.
            opener: Opens the video.

        Raises:
            VideoDecodeError: The video cannot be read, or not in time.
        """
        return self.call(opener, decoder=lambda: decoder, late=_let_go)

    def call(self, work: Callable[[], T], *, decoder: Callable[[], str], late: Callable[[T | None], object]) -> T:
        """Return what `work` returns.

        Args:
            work: The call.
            decoder: Says the name of the decoder, for messages.
            late: Takes what the call returns too late, None if it raised.

        Raises:
            VideoDecodeError: The time is up.
            RuntimeError: It was up at an earlier call.
        """
        if self._deadline.seconds is None:
            return work()
        if self.left_behind:
            raise RuntimeError("The video was given up because a call took too long; open it again.")
        self._deadline.restart()
        task = _Task(work, late)
        thread = threading.Thread(target=task.run, name="eztorch-decode", daemon=True)
        thread.start()
        thread.join(self._deadline.seconds)
        if task.abandon():
            self.left_behind = True
            raise VideoDecodeError(self._path, decoder(), self._deadline.reason)
        return task.result()


def _let_go(opened: ClipReader | None) -> None:
    if opened is not None:
        opened.let_go()


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
