"""EPIC-Kitchens-55 (Damen et al., arXiv 1804.02748): parts of long videos, each with a verb and a noun."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from pathlib import Path

from eztorch.datasets.annotations.labeled_video import Annotation, LabeledVideo, label_check, official_file
from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import DataError

NUM_CLASSES = {"verb": 125, "noun": 352}
_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)$")
_COLUMNS = (
    "participant_id",
    "video_id",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
    "verb_class",
    "noun_class",
)


def read_epic_kitchens(
    folder: Path,
    task: str,
    participants: Collection[str],
    *,
    frame_folders: bool = False,
    frame_stride: int = 1,
) -> Annotation:
    """Read `EPIC_train_action_labels.csv`.

    A line is a part of the video `<participant>/<video>`: of a video file by its time stamps, of a folder of frames
    by its frame numbers, counted from 1, the last one meant too. Its verb and its noun both go into the sample.

    Args:
        folder: The folder of the official files.
        task: Which of them is the label: `verb` or `noun`.
        participants: Whose videos, for example `P01`.
        frame_folders: Whether videos are folders of frames.
        frame_stride: Frames of the annotation to one picture of a folder; 2 for the official optical flow.

    Raises:
        DataError: The file is missing, a line cannot be read, or no line is of these participants.
    """
    path = official_file(
        folder,
        ["EPIC_train_action_labels.csv"],
        dataset="EPIC-Kitchens-55",
        source="the repository epic-kitchens-55-annotations of the EPIC-Kitchens project",
        layout="EPIC_train_action_labels.csv (the official test lists have no labels)",
    )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f"{path}: the column(s) {', '.join(missing)} are missing.")
        rows = [(number, row) for number, row in enumerate(reader, start=2) if row["participant_id"] in participants]
    if not rows:
        raise DataError(f"{path}: there is no line of the participants {', '.join(sorted(participants))}.")
    label_of = {target: label_check(path, number) for target, number in NUM_CLASSES.items()}
    videos = []
    for number, row in rows:
        where = f"line {number}"
        targets = {target: check(row[f"{target}_class"], where) for target, check in label_of.items()}
        try:
            segment = _frames(row, frame_stride) if frame_folders else _seconds(row)
        except ValueError as error:
            raise DataError(f"{path}, {where}: no part of a video ({error}).") from error
        video = f"{row['participant_id']}/{row['video_id']}"
        num_frames = int(segment.end) if frame_folders else None
        videos.append(
            LabeledVideo(video if frame_folders else f"{video}.MP4", targets[task], num_frames, segment, targets)
        )
    return Annotation(videos, _names(folder / f"EPIC_{task}_classes.csv", NUM_CLASSES[task]), as_published=True)


def _frames(row: Mapping[str, str], stride: int) -> Segment:
    """Return the pictures of a part; with a stride s, picture k is of the frames ks to ks + s - 1, counted from 0."""
    first, last = int(row["start_frame"]) - 1, int(row["stop_frame"]) - 1
    if not 0 <= first <= last:
        raise ValueError(f"start_frame={row['start_frame']}, stop_frame={row['stop_frame']}")
    return Segment(first // stride, last // stride + 1, "frames")


def _seconds(row: Mapping[str, str]) -> Segment:
    start, end = (_time(row[f"{side}_timestamp"]) for side in ("start", "stop"))
    if not start < end:
        raise ValueError(f"start_timestamp={row['start_timestamp']}, stop_timestamp={row['stop_timestamp']}")
    return Segment(start, end, "seconds")


def _time(text: str) -> Fraction:
    """Return the seconds of a time stamp.

    >>> _time("00:01:02.14")
    Fraction(3107, 50)
    """
    match = _TIME.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time stamp such as 00:01:02.14")
    hours, minutes, seconds = match.groups()
    return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)


def _names(path: Path, num_classes: int) -> tuple[str, ...]:
    """Return the names of `EPIC_verb_classes.csv` (`verb_id,class_key,verbs`) or that of nouns, where it is there."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = tuple(row.get("class_key") or "" for row in csv.DictReader(file))
    if len(names) != num_classes:
        raise DataError(f"{path}: it has {len(names)} classes, not {num_classes}.")
    return names
