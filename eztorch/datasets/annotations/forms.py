"""The forms of annotation of any data set: a csv file, a json file, a folder of classes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eztorch.datasets.annotations.labeled_video import LabeledVideo, frame_count
from eztorch.utils.errors import DataError

VIDEO_EXTENSIONS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
_CSV_FORM = "'<path> [<label> [<number of frames>]]', separated by spaces"
_COMMA_SEPARATED = re.compile(r"\S+[,;]\s*-?\d+\s*([,;].*)?$")


def read_csv(path: Path, label_of: Callable[[Any, str], int]) -> Iterator[LabeledVideo]:
    """Yield the videos of a csv file; see `LabeledVideoPaths.from_path`."""
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
                    yield LabeledVideo(video.strip(), label_of(label, where), frame_count(num_frames, path, where))
            except DataError as error:
                raise DataError(f"{error} Expected {_CSV_FORM}; a path with spaces needs all three columns.") from None


def read_json(path: Path, label_of: Callable[[Any, str], int]) -> Iterator[LabeledVideo]:
    """Yield the videos of a json file; see `LabeledVideoPaths.from_path`."""
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
            video, label_of(entry.get("class", -1), where), None if count is None else frame_count(count, path, where)
        )


def read_folder(
    folder: Path, num_classes: int | None, classes: Sequence[str], frame_folders: bool
) -> tuple[list[LabeledVideo], tuple[str, ...]]:
    """Return the videos of a folder of classes, and the names of the classes; see `LabeledVideoPaths.from_path`."""
    names = _class_names(folder, num_classes, classes)
    return list(_videos(folder, names, frame_folders)), names


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


def _videos(folder: Path, names: Sequence[str], frame_folders: bool) -> Iterator[LabeledVideo]:
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
