"""Videos as folders of pictures, one file a frame."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from eztorch.datasets.decoders.clips import ClipReader
from eztorch.datasets.decoders.errors import UnreadableError, blame, brief
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.pictures import decode_picture
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.datasets.decoders.timeline import RegularTimeline
from eztorch.datasets.decoders.timeout import Deadline, Watch
from eztorch.utils.errors import ConfigError

In = TypeVar("In")
Out = TypeVar("Out")


class FrameDecoder:
    """Reads folders of pictures (JPEG, or whatever Pillow opens): a frame every 1/fps seconds, duration = frames / fps.

    Args:
        fps: Frames a second that the pictures were extracted at; text like "30000/1001" is exact.
        num_threads_io: Threads that read the files; 0 reads them one after another, which is best in a loader worker.
        num_threads_decode: Threads that decode the pictures; 0 as above. Threads change the speed alone.
        frame_name: Name of a frame's file in the folder, a format string over `index`.
        first_index: The `index` of the first frame.
        **options: The arguments of `ClipOptions`.

    Raises:
        ConfigError: A value cannot be used.
    """

    def __init__(
        self,
        *,
        fps: float | str | Fraction = 30,
        num_threads_io: int = 0,
        num_threads_decode: int = 0,
        frame_name: str = "{index:08d}.jpg",
        first_index: int = 1,
        **options: Any,
    ) -> None:
        self._fps = _positive_fraction(fps)
        self._threads = {"io": num_threads_io, "decode": num_threads_decode}
        for purpose, number in self._threads.items():
            if number < 0:
                raise ConfigError(f"num_threads_{purpose}={number} must not be negative; 0 uses no threads.")
        _name_pattern(os.path.basename(frame_name))
        self._frame_name = frame_name
        self._first_index = first_index
        self._options = ClipOptions.build(**options)

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a folder; see `Decoder.open`."""
        watch = Watch(Deadline(self._options.decode_timeout_s), path)

        def opener() -> ClipReader:
            with blame(path, "frame"):
                if not os.path.isdir(path):
                    raise UnreadableError("there is no such folder; decoder 'frame' reads folders of pictures")
                names = _FrameNames(path, self._frame_name, self._first_index)
                timeline = RegularTimeline(names.count() if num_frames is None else num_frames, self._fps)
                if timeline.num_frames < 1:
                    raise UnreadableError(f"the folder holds no frame; the first would be {names.of(0)}")
            source = _PictureSource(names, self._threads)
            return ClipReader(
                path, timeline=timeline, source=source, options=self._options, segment=segment, watch=watch
            )

        return watch.open("frame", opener)


@dataclass(frozen=True)
class _FrameNames:
    """The files of a folder of frames."""

    folder: str
    frame_name: str
    first_index: int

    def of(self, index: int) -> Path:
        return Path(self.folder, self.frame_name.format(index=self.first_index + index))

    def count(self) -> int:
        """Count the frames up to the last. One that is missing counts: it is an error when it is read."""
        pattern = _name_pattern(os.path.basename(self.frame_name))
        matches = map(pattern.fullmatch, os.listdir(self.of(0).parent))
        indices = (int(match[1]) - self.first_index for match in matches if match)
        return max((index + 1 for index in indices if self.of(index).exists()), default=0)


class _PictureSource(FrameSource):
    decoder = "frame"

    def __init__(self, names: _FrameNames, threads: dict[str, int]) -> None:
        self._names = names
        self._threads = threads

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        files = [self._names.of(index) for index in indices]
        contents = _map("io", self._threads["io"], _read, files)
        return iter(_map("decode", self._threads["decode"], _decode, contents))

    def close(self) -> None:
        """Nothing stays open."""


def _read(file: Path) -> tuple[Path, bytes]:
    try:
        return file, file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"frame {file.name} cannot be read: {brief(error)}") from error


def _decode(content: tuple[Path, bytes]) -> Tensor:
    file, encoded = content
    try:
        return decode_picture(encoded)
    except (OSError, SyntaxError) as error:
        raise UnreadableError(f"frame {file.name} is damaged: {brief(error)}") from error


def _map(purpose: str, num_threads: int, function: Callable[[In], Out], items: Iterable[In]) -> Iterable[Out]:
    if num_threads == 0:
        return map(function, items)
    return _pool(os.getpid(), purpose, num_threads).map(function, items)


@cache
def _pool(process: int, purpose: str, num_threads: int) -> ThreadPoolExecutor:
    """Return the threads of this process; a forked one, which inherits the cache but no threads, gets its own."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix=f"eztorch-frames-{purpose}")


def _positive_fraction(fps: float | str | Fraction) -> Fraction:
    try:
        exact = Fraction(str(fps))  # the decimal that was written: 29.97 is 2997/100
    except (ValueError, ZeroDivisionError):
        exact = Fraction(0)
    if exact <= 0:
        raise ConfigError(f"fps={fps!r} must be a positive number or fraction, for example 30 or '30000/1001'.")
    return exact


def _name_pattern(frame_name: str) -> re.Pattern[str]:
    """Turn a format string over `index` into the pattern of the names that it makes."""
    try:
        parts = list(string.Formatter().parse(frame_name))
        frame_name.format(index=0)
    except (ValueError, KeyError, IndexError):
        parts = []
    if [field for _, field, _, _ in parts if field is not None] != ["index"]:
        raise ConfigError(f"frame_name={frame_name!r} must hold one field, index, for example {{index:08d}}.jpg.")
    return re.compile("".join(re.escape(text) + ("" if field is None else r"(\d+)") for text, field, _, _ in parts))
