"""The forms of annotation of any data set.

A folder of classes, `<class>/<video>`. A json file `{"annotation": {"<path>": {"class": 3, "num_frames": 250}}}`, taken
in the order of the sorted paths. And csv files, told apart by how they begin:

* lines `<path> [<label> [<number of frames>]]` separated by spaces, without a header; a path with spaces in it needs
  all three columns;
* the csv of Kinetics, whose header has `youtube_id`, see `kinetics`;
* the frame list of PyVideoAI, whose first line is a number alone, see `frame_list`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eztorch.datasets.annotations.frame_list import is_frame_list, read_frame_list
from eztorch.datasets.annotations.kinetics import is_kinetics_csv, read_kinetics_csv
from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    Label,
    LabeledVideo,
    class_labels,
    frame_count,
    json_of,
    label_check,
    lines_of,
)
from eztorch.utils.errors import DataError

VIDEO_EXTENSIONS = (".avi", ".mkv", ".mov", ".mp4", ".webm")
_CSV_FORM = "'<path> [<label> [<number of frames>]]', separated by spaces"
_COMMA_SEPARATED = re.compile(r"\S+[,;]\s*-?\d+\s*([,;].*)?$")


def read_annotation(
    path: Path,
    num_classes: int | None = None,
    classes: Sequence[str] = (),
    *,
    media: str | Path = "",
    frame_folders: bool | None = False,
    video_id_to_label: Mapping[int, Label] | None = None,
    subset: str | None = None,
) -> Annotation:
    """Read a folder of classes or an annotation file of any form.

    Args:
        path: The folder or file.
        num_classes: Number of classes; labels are checked against it. None for no check.
        classes: Names of the classes in the order of their labels, for the forms that name classes; by default the
            names in alphabetical order.
        media: For a csv of Kinetics, the folder of the files.
        frame_folders: For the form of folders, whether a video is a folder of frames and not a file; None to look.
        video_id_to_label: For the frame list, labels that replace those of the file.
        subset: For a csv of Kinetics that has lines of several splits, which are meant.

    Raises:
        DataError: There is nothing at the path, nothing in it, or something in it cannot be read; the message names
            the file and the line.
    """
    if path.is_dir():
        return read_folder(path, num_classes, classes, frame_folders)
    if not path.is_file():
        raise DataError(f"{path}: there is no such annotation file or folder of classes.")
    if path.suffix == ".json":
        annotation = Annotation(list(_read_json(path, label_check(path, num_classes))))
    else:
        lines = lines_of(path)
        if is_kinetics_csv(lines):
            annotation = read_kinetics_csv(path, Path(media), num_classes, classes, subset)
        elif is_frame_list(lines):
            annotation = read_frame_list(path, lines, num_classes, video_id_to_label)
        else:
            annotation = Annotation(list(read_csv_lines(path, lines, label_check(path, num_classes))))
    if not annotation.videos:
        raise DataError(f"{path}: the file lists no video.")
    return annotation


def read_csv(path: Path, num_classes: int | None = None) -> list[LabeledVideo]:
    """Read a file of lines `<path> [<label> [<number of frames>]]`.

    Raises:
        DataError: The file or a line of it cannot be read.
    """
    return list(read_csv_lines(path, lines_of(path), label_check(path, num_classes)))


def read_csv_lines(
    path: Path, lines: Sequence[tuple[str, str]], label_of: Callable[[Any, str], int]
) -> Iterator[LabeledVideo]:
    """Yield the videos of lines `<path> [<label> [<number of frames>]]`; each line comes with where it stands."""
    for line, where in lines:
        columns = line.rsplit(None, 2)
        if _COMMA_SEPARATED.match(line):
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


def _read_json(path: Path, label_of: Callable[[Any, str], int]) -> Iterator[LabeledVideo]:
    form = 'expected {"annotation": {"<path>": {"class": 3, "num_frames": 250}}}'
    content = json_of(path)
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
    folder: Path, num_classes: int | None, classes: Sequence[str], frame_folders: bool | None
) -> Annotation:
    """Return the videos of a folder of classes; for the arguments see `read_annotation`.

    Raises:
        DataError: There is no video in it, or a class that is none of `classes`.
    """
    found = entries(folder, os.DirEntry.is_dir)
    if not found:
        raise DataError(f"{folder}: there is no class folder in it; expected <class>/<video>.")
    names = tuple(classes) or tuple(found)
    class_labels(found, names, f"{folder}: the class folder(s)", "the training set or the file of classes")
    if num_classes is not None and len(names) > num_classes:
        raise DataError(f"{folder}: there are {len(names)} class folders, more than the {num_classes} classes.")
    files: list[LabeledVideo] = []
    folders: list[LabeledVideo] = []
    for label, name in enumerate(names):
        if name in found:
            files += [LabeledVideo(f"{name}/{video}", label) for video in entries(folder / name, is_video_file)]
            folders += [LabeledVideo(f"{name}/{video}", label) for video in entries(folder / name, os.DirEntry.is_dir)]
    videos = (files or folders) if frame_folders is None else folders if frame_folders else files
    if not videos:
        others = len(files) + len(folders)
        kinds = "folders of frames", f"video files ({' '.join(VIDEO_EXTENSIONS)})"
        sought, other = kinds if frame_folders else kinds[::-1]
        hint = (
            f" There are {others} {other}; is decoder={'pyav' if frame_folders else 'frame'} meant?" if others else ""
        )
        raise DataError(f"{folder}: there are no {sought} in its class folders.{hint}")
    return Annotation(videos, names)


def entries(folder: Path, wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    """Return the names of what is wanted of a folder, sorted, without what is hidden."""
    with os.scandir(folder) as found:
        return sorted(entry.name for entry in found if not entry.name.startswith(".") and wanted(entry))


def is_video_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file that has the extension of a video."""
    return entry.name.lower().endswith(VIDEO_EXTENSIONS) and entry.is_file()
