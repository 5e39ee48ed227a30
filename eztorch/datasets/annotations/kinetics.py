"""The official csv of Kinetics: a header, then `label,youtube_id,time_start,time_end,split[,is_cc]`."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from eztorch.datasets.annotations.labeled_video import Annotation, LabeledVideo, class_labels
from eztorch.utils.errors import DataError


def is_kinetics_csv(lines: Sequence[tuple[str, str]]) -> bool:
    """Say whether lines, each with its place, are those of the official csv.

    >>> is_kinetics_csv([("label,youtube_id,time_start,time_end,split", "")])
    True
    """
    return bool(lines) and "youtube_id" in lines[0][0].split(",")


def read_kinetics_csv(
    path: Path,
    media: Path,
    num_classes: int | None = None,
    classes: Sequence[str] = (),
    subset: str | None = None,
) -> Annotation:
    """Read the csv. The file of a line is `<youtube_id>_<start>_<end>.mp4`, its times whole seconds of six digits.

    The files are in one folder or in a folder a class, whose name is the label, with spaces or with underscores.

    Args:
        path: The csv.
        media: The folder of the files.
        num_classes: Number of classes.
        classes: Names of the classes in the order of their labels; by default those of the csv, sorted.
        subset: Where the csv has lines of several splits, which are meant: `train`, `val` (or `validate`), `test`.

    Raises:
        DataError: A line cannot be read, a label is none of `classes`, or there are more than `num_classes`.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    found = sorted({row["label"] for row in rows if row.get("label")})
    names = tuple(classes) or tuple(found)
    rows = _of_subset(path, rows, subset)
    labels = class_labels(found, names, f"{path}: the label(s)", "the training set or the file of classes")
    if num_classes is not None and len(names) > num_classes:
        raise DataError(f"{path}: it has {len(names)} labels, more than the {num_classes} classes.")
    folders = _class_folders(media, names)
    videos = []
    for number, row in enumerate(rows, start=2):
        try:
            name = f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, line {number}: expected label,youtube_id,time_start,time_end,split with whole seconds."
            ) from error
        label = row.get("label") or ""
        videos.append(LabeledVideo(os.path.join(folders.get(label, ""), name), labels.get(label, -1)))
    return Annotation(videos, names, as_published=True)


def _of_subset(path: Path, rows: list[dict[str, str]], subset: str | None) -> list[dict[str, str]]:
    """Return the lines of a split; all of them where they are of one."""
    splits = {row.get("split") or "" for row in rows}
    if len(splits) < 2:
        return rows
    chosen = [split for split in splits if subset and split.startswith(subset)]
    if len(chosen) != 1:
        raise DataError(
            f"{path}: it has lines of the splits {', '.join(sorted(splits))}, and {subset!r} is none of them."
        )
    return [row for row in rows if row.get("split") == chosen[0]]


def _class_folders(media: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each class, as far as there are such folders.

    Raises:
        DataError: A folder in `media` is none of a class.
    """
    if not media.is_dir():
        return {}
    with os.scandir(media) as entries:
        found = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    folders = {form: name for name in names for form in (name, name.replace(" ", "_"))}
    if not found or not any(name in folders for name in found):
        return {}  # all files in one folder, perhaps folders of frames
    class_labels(found, tuple(folders), f"{media}: the class folder(s)", "the csv")
    missing = {name: name for name in names}
    return missing | {folders[name]: name for name in found}
