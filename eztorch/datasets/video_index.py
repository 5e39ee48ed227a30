"""What is known of the media in a folder since `eztorch data index` opened each of them once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from eztorch.utils.errors import DataError

INDEX_NAME = "eztorch_index.jsonl"
_FEW_VALUES = ("status", "kind", "fault", "container", "codec", "pixel_format")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a video file, a folder of frames or an image file. None stands for not known, or none.

    Attributes:
        path: Path from the folder of the index, with `/`.
        size: Bytes of the file; 0 for a folder of frames.
        mtime_ns: When it was changed, nanoseconds.
        status: `ok`, or why it, or a part of it, cannot be read.
        kind: `video`, `frames` or `image`.
        fault: Where it is not `ok`, the kind of its fault, as `eztorch data check` names it.
        duration: Seconds from the first frame to the end of the last; None for frames, whose rate no file says.
        fps: Average frames a second.
        num_frames: Number of frames; of a folder, up to the last, those that are missing included.
        width: Pixels of a stored picture, before the rotation.
        height: As `width`.
        container: FFmpeg's name of the container format.
        codec: FFmpeg's name of the codec; Pillow's name of the format for pictures.
        pixel_format: FFmpeg's name of the pixel format; Pillow's mode for pictures.
        key_frame_distance: Largest number of frames from one at which decoding can begin to the next, or to the end.
        rotation: Degrees, counter-clockwise, by which a picture has to be turned for display.
        num_streams: Number of streams of the file, sound included.
        missing: Numbers (as in the file names) of frames that a folder lacks, the first hundred.
    """

    path: str
    size: int
    mtime_ns: int
    status: str = "ok"
    kind: str = "video"
    fault: str | None = None
    duration: float | None = None
    fps: Fraction | None = None
    num_frames: int | None = None
    width: int | None = None
    height: int | None = None
    container: str | None = None
    codec: str | None = None
    pixel_format: str | None = None
    key_frame_distance: int | None = None
    rotation: int = 0
    num_streams: int | None = None
    missing: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is known against it."""
        return self.status == "ok"

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a line of the index has them; what is not known is left out.

        >>> VideoFacts("a.mp4", 9, 1, fps=Fraction(30000, 1001), num_frames=250).to_json()["fps"]
        '30000/1001'
        """
        known = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return known | ({} if self.fps is None else {"fps": str(self.fps)})

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> VideoFacts:
        """Make the facts of a line; keys of a later version do not count.

        Raises:
            KeyError, TypeError, ValueError: The line is none of an index.
        """
        known = {field.name: line[field.name] for field in fields(cls) if field.name in line}
        if not isinstance(line["path"], str) or not isinstance(line["size"], int):
            raise TypeError("path is text and size a whole number")
        if "fps" in known:
            known["fps"] = _rate(known["fps"])
        # An index has hundreds of thousands of lines and a handful of codecs.
        known |= {name: sys.intern(known[name]) for name in _FEW_VALUES if name in known}
        return cls(**known | {"missing": tuple(known.get("missing", ()))})


class VideoIndex:
    """The facts of the media of a folder, from the file `eztorch_index.jsonl` in it: one JSON object a line.

    Where a path has several lines the last counts. What is no longer as it was when it was probed, by its size and the
    time of its last change, counts as not known.

    Args:
        folder: The folder that the paths start from.
        facts: The facts.

    >>> VideoIndex("/data", [VideoFacts("a/x.mp4", 1000, 1, num_frames=250)]).facts("a/x.mp4", verify=False).num_frames
    250
    """

    def __init__(self, folder: str | Path, facts: Iterable[VideoFacts]) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._facts = {one.path: one for one in facts}

    @classmethod
    def find(cls, folder: str | Path) -> VideoIndex | None:
        """Read the index of a folder: the one in it, or in the nearest folder above that has one.

        Returns:
            None where there is none.

        Raises:
            DataError: The file is not an index; the message names the line.
        """
        start = Path(os.path.abspath(folder))
        for place in (start, *start.parents):
            if (place / INDEX_NAME).is_file():
                return cls.read(place)
        return None

    @classmethod
    def read(cls, folder: str | Path) -> VideoIndex:
        """Read the index in a folder.

        Raises:
            DataError: There is none, or the file is not one; the message names the line.
        """
        return cls(folder, _read(Path(folder) / INDEX_NAME))

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[VideoFacts]:
        """Give all facts, also those of files that have changed since, sorted by path."""
        return iter(self._facts[path] for path in sorted(self._facts))

    def facts(self, path: str | Path, *, verify: bool = True) -> VideoFacts | None:
        """Return what is known of a file or folder of frames.

        Args:
            path: Absolute, or relative to the folder of the index.
            verify: Look whether it is still as it was; without, nothing on the disk is touched.

        Returns:
            None where nothing is known, or it has changed or gone since.
        """
        whole = os.path.normpath(os.path.join(self.folder, path))
        known = self._facts.get(os.path.relpath(whole, self.folder).replace(os.sep, "/"))
        if known is None or not verify:
            return known
        return known if stamp(whole) == (known.size, known.mtime_ns) else None


def stamp(path: str | Path) -> tuple[int, int] | None:
    """Return the size (bytes, 0 for a folder) and the time of the last change (ns); None where there is nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (0 if S_ISDIR(found.st_mode) else found.st_size), found.st_mtime_ns


def _read(path: Path) -> Iterator[VideoFacts]:
    try:
        with path.open("rb") as lines:
            yield from _facts_of(lines, path)
    except OSError as error:
        raise DataError(f"{path}: the index cannot be read ({error.strerror}).") from error


def _facts_of(lines: Iterable[bytes], path: Path) -> Iterator[VideoFacts]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return  # the last line of an indexing that was stopped while it wrote
        try:
            yield VideoFacts.from_json(json.loads(line.decode("utf-8", "surrogateescape")))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: not a line of an index ({error}). Delete the file and run: "
                f"eztorch data index {path.parent}"
            ) from error


@cache
def _rate(text: str) -> Fraction:
    return Fraction(text)
