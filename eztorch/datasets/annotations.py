"""Which videos a split has and what their labels are: from a csv file, a json file or a folder of classes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eztorch.utils.errors import DataError

VIDEO_EXTENSIONS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
_CSV_FORM = "'<path> [<label> [<number of frames>]]', separated by spaces"
_COMMA_SEPARATED = re.compile(r"\S+[,;]\s*-?\d+\s*([,;].*)?$")


class LabeledVideo(NamedTuple):
    """One video of a split.

    Attributes:
        path: Video file, or folder of frames, as the annotation has it.
        label: Class, -1 for none.
        num_frames: Number of frames, None where the annotation does not say it.
    """

    path: str
    label: int = -1
    num_frames: int | None = None


class LabeledVideoPaths:
    """The videos of a split, held in arrays so that the processes of a loader share them.

    Args:
        videos: The videos.
        path_prefix: Folder put before every path that is not absolute, by `full_path`.
        classes: Names of the classes in the order of their labels, where they are known.

    >>> LabeledVideoPaths([LabeledVideo("a.mp4", 3)], path_prefix="/data").full_path(0)
    '/data/a.mp4'
    """

    def __init__(
        self, videos: Sequence[LabeledVideo], *, path_prefix: str | Path = "", classes: Sequence[str] = ()
    ) -> None:
        self._paths = np.array([os.fsencode(video.path) for video in videos])
        self._labels = np.array([video.label for video in videos])
        self._num_frames = np.array([video.num_frames or 0 for video in videos])
        self.path_prefix = str(path_prefix)
        self.classes = tuple(classes)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> LabeledVideo:
        path = os.fsdecode(self._paths[index])
        return LabeledVideo(path, int(self._labels[index]), int(self._num_frames[index]) or None)

    def full_path(self, index: int) -> str:
        """Return the path of a video with the prefix before it."""
        return os.path.join(self.path_prefix, os.fsdecode(self._paths[index]))

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        *,
        video_path_prefix: str | Path = "",
        num_classes: int | None = None,
        classes: Sequence[str] = (),
        frame_folders: bool = False,
    ) -> LabeledVideoPaths:
        """Read an annotation.

        Three forms are known. A **folder** `<class>/<video>`, its labels the classes in alphabetical order. A **json**
        file `{"annotation": {"<path>": {"class": 3, "num_frames": 250}}}`, taken in the order of the sorted paths. Any
        other file is a **csv** file of lines `<path> [<label> [<number of frames>]]` separated by spaces, without a
        header; a path with spaces in it needs all three columns. In files, no label and the label -1 mean none.

        Args:
            path: The folder or file.
            video_path_prefix: Folder that the paths of a csv or json file start from; the videos of a folder are in it.
            num_classes: Number of classes; labels are checked against it. None for no check.
            classes: For the form of folders, the names of the classes in the order of their labels; by default the
                names of the class folders, sorted.
            frame_folders: For the form of folders, whether a video is a folder of frames and not a file.

        Raises:
            DataError: There is nothing at the path, nothing in it, or something in it cannot be read; the message
                names the file and the line.
        """
        path = Path(path)
        if path.is_dir():
            names = _class_names(path, num_classes, classes)
            return cls(list(_read_folder(path, names, frame_folders)), path_prefix=path, classes=names)
        if not path.is_file():
            raise DataError(f"{path}: there is no such annotation file or folder of classes.")
        read = _read_json if path.suffix == ".json" else _read_csv
        try:
            videos = list(read(path, _label_check(path, num_classes)))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not a text file in UTF-8, so not an annotation file ({error}).") from error
        if not videos:
            raise DataError(f"{path}: the file lists no video.")
        return cls(videos, path_prefix=video_path_prefix)


def _label_check(path: Path, num_classes: int | None) -> Callable[[Any, str], int]:
    """Return a function that turns what stands for a label into an integer; its second argument says where."""

    def check(value: Any, where: str) -> int:
        label = _whole_number(value)
        if label is None:
            raise DataError(f"{path}, {where}: the label {value!r} is not a whole number.")
        if label < -1 or (num_classes is not None and label >= num_classes):
            expected = "a number from 0" if num_classes is None else f"one of 0 to {num_classes - 1}"
            raise DataError(f"{path}, {where}: the label {label} is not {expected}, nor -1 for none.")
        return label

    return check


def _whole_number(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value) else None


def _frame_count(value: Any, path: Path, where: str) -> int:
    count = _whole_number(value)
    if count is None or count < 1:
        raise DataError(f"{path}, {where}: the number of frames {value!r} is not a whole number of at least 1.")
    return count


def _read_csv(path: Path, label_of: Callable[[Any, str], int]) -> Iterator[LabeledVideo]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"line {number} ({line.strip()!r})"
            columns = line.rsplit(None, 2)
            if not columns:
                continue
            if _COMMA_SEPARATED.match(line.strip()):
                raise DataError(f"{path}, {where}: the columns are not separated by spaces; expected {_CSV_FORM}.")
            try:
                if len(columns) == 1:
                    yield LabeledVideo(columns[0])
                elif len(columns) == 2:
                    yield LabeledVideo(columns[0], label_of(columns[1], where))
                else:
                    video, label, num_frames = columns
                    yield LabeledVideo(video.strip(), label_of(label, where), _frame_count(num_frames, path, where))
            except DataError as error:
                raise DataError(f"{error} Expected {_CSV_FORM}; a path with spaces needs all three columns.") from None


def _read_json(path: Path, label_of: Callable[[Any, str], int]) -> Iterator[LabeledVideo]:
    form = 'expected {"annotation": {"<path>": {"class": 3, "num_frames": 250}}}'
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid json ({error.msg}).") from error
    entries = content.get("annotation") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        raise DataError(f"{path}: {form}.")
    for video, entry in sorted(entries.items()):
        where = f"entry {video!r}"
        if not isinstance(entry, dict):
            raise DataError(f"{path}, {where}: {form}.")
        count = entry.get("num_frames")
        yield LabeledVideo(
            video, label_of(entry.get("class", -1), where), None if count is None else _frame_count(count, path, where)
        )


def _class_names(folder: Path, num_classes: int | None, classes: Sequence[str]) -> tuple[str, ...]:
    found = _entries(folder, _is_folder)
    if not found:
        raise DataError(f"{folder}: there is no class folder in it; expected <class>/<video>.")
    names = tuple(classes) or tuple(found)
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(
            f"{folder}: the class folder(s) {', '.join(unknown)} are not among the {len(names)} classes of the "
            "training set."
        )
    if num_classes is not None and len(names) > num_classes:
        raise DataError(f"{folder}: there are {len(names)} class folders, more than the {num_classes} classes.")
    return names


def _read_folder(folder: Path, names: Sequence[str], frame_folders: bool) -> Iterator[LabeledVideo]:
    is_video, is_other = (_is_folder, _is_video_file) if frame_folders else (_is_video_file, _is_folder)
    number, others = 0, 0
    for label, name in enumerate(names):
        if (folder / name).is_dir():
            for video in _entries(folder / name, is_video):
                yield LabeledVideo(f"{name}/{video}", label)
                number += 1
            others += 0 if number else len(_entries(folder / name, is_other))
    if not number:
        kinds = "folders of frames", f"video files ({' '.join(VIDEO_EXTENSIONS)})"
        sought, other = kinds if frame_folders else kinds[::-1]
        decoder = "pyav" if frame_folders else "frame"
        hint = f" There are {others} {other}; is decoder={decoder} meant?" if others else ""
        raise DataError(f"{folder}: there are no {sought} in its class folders.{hint}")


def _entries(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and wanted(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir()


def _is_video_file(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(VIDEO_EXTENSIONS) and entry.is_file()
