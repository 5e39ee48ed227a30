"""One video of a split, and the checks that all forms of annotation share."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import DataError
from eztorch.utils.names import nearest

Label: TypeAlias = "int | tuple[float, ...]"
"""A class, -1 for none; where a video has several labels, a weight for every class."""


class LabeledVideo(NamedTuple):
    """One video of a split, or one part of a long video.

    Attributes:
        path: Video file, or folder of frames, as the annotation has it.
        label: Class, -1 for none; where a video has several labels, a weight for every class.
        num_frames: Number of frames of the whole video, None where the annotation does not say it. Of a folder of
            frames it may be the number up to the end of the segment.
        segment: The part of the video that is meant, None for all of it.
        targets: Further classes of the video by name, for example `verb` and `noun`.
    """

    path: str
    label: Label = -1
    num_frames: int | None = None
    segment: Segment | None = None
    targets: Mapping[str, int] | None = None


class Annotation(NamedTuple):
    """What is read of an annotation.

    Attributes:
        videos: The videos.
        classes: Names of the classes in the order of their labels, where they are known.
        frame_name: Name of a frame's file in a folder of frames, a format string over `index`, where it is said.
        as_published: Whether the paths are those that the files were published under. A prepared copy may have another
            extension, and a folder of frames none.
    """

    videos: list[LabeledVideo]
    classes: tuple[str, ...] = ()
    frame_name: str | None = None
    as_published: bool = False


def label_check(path: Path, num_classes: int | None) -> Callable[[Any, str], int]:
    """Return a function that turns what stands for a label into an integer; its second argument says where."""

    def check(value: Any, where: str) -> int:
        label = whole_number(value)
        if label is None:
            raise DataError(f"{path}, {where}: the label {value!r} is not a whole number.")
        if label < -1 or (num_classes is not None and label >= num_classes):
            expected = "a number from 0" if num_classes is None else f"one of 0 to {num_classes - 1}"
            raise DataError(f"{path}, {where}: the label {label} is not {expected}, nor -1 for none.")
        return label

    return check


def whole_number(value: Any) -> int | None:
    """Return a whole number, or the one that a text holds; None for anything else.

    >>> whole_number("-3"), whole_number("3.0"), whole_number(True)
    (-3, None, None)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value) else None


def frame_count(value: Any, path: Path, where: str) -> int:
    """Return a number of frames.

    Raises:
        DataError: It is not a whole number of at least 1.
    """
    count = whole_number(value)
    if count is None or count < 1:
        raise DataError(f"{path}, {where}: the number of frames {value!r} is not a whole number of at least 1.")
    return count


def class_labels(names: Sequence[str], known: Sequence[str], where: str, source: str) -> dict[str, int]:
    """Return the label of every name.

    Args:
        names: Names of classes.
        known: The names of all classes in the order of their labels.
        where: What has the names, and what they are, for the message.
        source: What says which classes there are, for the message.

    Raises:
        DataError: A name is not known; the message has the nearest that is.
    """
    labels = {name: label for label, name in enumerate(known)}
    unknown = [name for name in names if name not in labels]
    if unknown:
        told = [f"{name!r}" + (f" (nearest: {close!r})" if (close := nearest(name, known)) else "") for name in unknown]
        raise DataError(f"{where} {listed(told)} are not among the {len(known)} classes of {source}.")
    return {name: labels[name] for name in names}


def listed(items: Sequence[str], most: int = 5) -> str:
    """Return the first of some items as text, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def official_file(folder: Path, names: Sequence[str], *, dataset: str, source: str, layout: str) -> Path:
    """Return the first of some files that there is in a folder.

    Args:
        folder: The folder of the official files.
        names: Names that the file goes by.
        dataset: The data set, for the message.
        source: Where its files come from.
        layout: What the folder must hold.

    Raises:
        DataError: There is none; the message says where it comes from and where it belongs.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"{folder}: {' or '.join(names)} is missing. It is one of the official files of {dataset}, from {source}. "
        f"The folder must hold {layout}; datamodule.<split>.dataset.datadir says where it is."
    )


def lines_of(path: Path) -> list[tuple[str, str]]:
    """Return the lines of a text file that are not empty, stripped, and where each is, for messages.

    Raises:
        DataError: It is not a text file.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8, so not an annotation file ({error}).") from error
    return [
        (line.strip(), f"line {number} ({line.strip()!r})")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def json_of(path: Path) -> Any:
    """Return what a json file holds.

    Raises:
        DataError: It is not json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid json ({error.msg}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8, so not an annotation file ({error}).") from error
