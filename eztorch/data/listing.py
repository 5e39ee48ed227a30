"""Which videos, folders of frames and images there are in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from eztorch.utils.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# All that FFmpeg reads and people keep; the folder form of a split takes those of `annotations.VIDEO_EXTENSIONS` alone.
VIDEO_SUFFIXES = frozenset(
    {
        ".3gp",
        ".avi",
        ".flv",
        ".h264",
        ".m2ts",
        ".m4v",
        ".mjpeg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
    }
    | {".ts", ".vob", ".webm", ".wmv"}
)
KINDS = ("video", "frames", "image")
_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")


class Medium(NamedTuple):
    """A video file, a folder of frames or an image file.

    Attributes:
        path: Path from the folder that was searched, with `/`.
        kind: `video`, `frames` or `image`.
    """

    path: str
    kind: str


class FrameNumbers(NamedTuple):
    """The numbered pictures of a folder.

    Attributes:
        names: The file of each number.
        last: The largest number.
        first: 0 where there is a picture of that number, otherwise 1.
    """

    names: dict[int, str]
    first: int
    last: int

    @property
    def num_frames(self) -> int:
        """Number of frames from the first to the last, with those that are missing."""
        return self.last - self.first + 1

    @property
    def missing(self) -> list[int]:
        """Numbers between the first and the last of which there is no picture."""
        return [number for number in range(self.first, self.last + 1) if number not in self.names]


def list_media(folder: str | Path, kind: str = "auto") -> list[Medium]:
    """Find all media in a folder and the folders in it, sorted by path. Hidden entries and other files do not count.

    Args:
        folder: Where to look.
        kind: `auto` takes a folder of pictures for the frames of one video where `looks_like_frames` says so.
            Otherwise one of `KINDS`: nothing else is found, and with `frames` every folder of pictures is one.

    Raises:
        DataError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: there is no such folder.")
    found: list[Medium] = []
    for place, names in _walk(Path(folder)):
        relative = "" if place == Path(folder) else place.relative_to(folder).as_posix() + "/"
        pictures = [name for name in names if suffix(name) in IMAGE_SUFFIXES]
        if kind in ("auto", "video"):
            found += [Medium(relative + name, "video") for name in names if suffix(name) in VIDEO_SUFFIXES]
        if kind == "video" or not pictures:
            continue
        if relative and (kind == "frames" or (kind == "auto" and looks_like_frames(pictures))):
            found.append(Medium(relative.rstrip("/"), "frames"))
        elif kind != "frames":
            found += [Medium(relative + name, "image") for name in pictures]
    return sorted(found)


def looks_like_frames(names: Sequence[str]) -> bool:
    """Say whether the pictures of a folder are the frames of one video, by their names.

    They are where the names differ in one number alone, which has at least five digits and leaves out less than half of
    what is counted from 0 or 1.

    >>> looks_like_frames(["img_00001.jpg", "img_00002.jpg", "img_00004.jpg"])
    True
    >>> looks_like_frames(["ILSVRC2012_val_00000293.JPEG", "ILSVRC2012_val_00002138.JPEG"])
    False
    """
    found = frame_numbers(names)
    if found is None or len(found.names) != len(names):
        return False
    digits = {len(name) for name in names}
    number = _NUMBERED.fullmatch(names[0])
    return len(digits) == 1 and number is not None and len(number[2]) >= 5 and 2 * len(names) > found.num_frames


def frame_numbers(names: Sequence[str]) -> FrameNumbers | None:
    """Read the numbers of pictures; of several series in one folder those of the longest.

    Returns:
        None where no name has a number.

    >>> frame_numbers(["img_00001.jpg", "img_00004.jpg", "mask.png"]).missing
    [2, 3]
    """
    series: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        parts = _NUMBERED.fullmatch(name)
        if parts is not None:
            series.setdefault((parts[1], parts[3]), {})[int(parts[2])] = name
    if not series:
        return None
    numbers = max(series.values(), key=len)
    return FrameNumbers(numbers, min(1, min(numbers)), max(numbers))


def suffix(name: str) -> str:
    """Return the suffix of a file's name in small letters."""
    return os.path.splitext(name)[1].lower()


def list_files(folder: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Return the names of the files of a folder that are not hidden, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and wanted(e.name) and e.is_file())


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give each folder and the names of its files, links followed, none of them twice."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield Path(place), [name for name in names if not name.startswith(".")]
