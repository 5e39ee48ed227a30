"""The frame list of PyVideoAI: videos or folders of frames with numbers, parts and several labels.

The first line is the number of classes where videos have several labels, 0 where they have one. The others are
`<path> <video id> <label>[,<label>...] [<first frame> <last frame> [<width> <height>]]`, separated by spaces. The path
of a folder of frames ends with the name of a frame's file, `{frame:05d}.jpg` or `{:05d}.jpg`, and its frame numbers are
those of the names, the last included. Without such a name frames are counted from 0. Width and height are not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from eztorch.datasets.annotations.labeled_video import (
    Annotation,
    Label,
    LabeledVideo,
    label_check,
    listed,
    whole_number,
)
from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import DataError

_FORM = "'<path> <video id> <label>[,<label>...] [<first frame> <last frame> [<width> <height>]]'"
_FRAME_FIELD = re.compile(r"\{(?:frame|index)?(:[^{}]*)?\}")


def is_frame_list(lines: Sequence[tuple[str, str]]) -> bool:
    """Say whether lines, each with its place, are those of a frame list: a number alone, then at least three columns.

    >>> is_frame_list([("0", ""), ("a/{:05d}.jpg 7 3 1 40", "")]), is_frame_list([("100218", ""), ("100219 4", "")])
    (True, False)
    """
    if len(lines) < 2 or whole_number(lines[0][0]) is None:
        return False
    columns = lines[1][0].split()
    return len(columns) in (3, 5, 7) and whole_number(columns[1]) is not None


def read_frame_list(
    path: Path,
    lines: Sequence[tuple[str, str]],
    num_classes: int | None = None,
    video_id_to_label: Mapping[int, Label] | None = None,
) -> Annotation:
    """Read the lines of a frame list.

    Args:
        path: The file, for messages.
        lines: Its lines, each with its place.
        num_classes: Number of classes; labels are checked against it.
        video_id_to_label: Labels by video id that replace those of the file: a class, or a weight for every class.

    Raises:
        DataError: A line cannot be read, or a video has no label in `video_id_to_label`.
    """
    several = int(lines[0][0])
    if several and num_classes is not None and several != num_classes:
        raise DataError(f"{path}, line 1: the file has {several} classes, not {num_classes}.")
    label_of = label_check(path, several or num_classes)
    videos: list[LabeledVideo] = []
    frame_names: set[str | None] = set()
    unlabeled: list[str] = []
    for line, where in lines[1:]:
        columns = line.split()
        numbers = [whole_number(column) for column in (columns[1:2] + columns[3:])]
        if len(columns) not in (3, 5, 7) or None in numbers:
            raise DataError(f"{path}, {where}: expected {_FORM}.")
        label: Label
        if video_id_to_label is not None:
            label = video_id_to_label.get(int(columns[1]), -1)
            unlabeled += [columns[1]] if int(columns[1]) not in video_id_to_label else []
        elif several:
            present = {label_of(one, where) for one in columns[2].split(",")}
            label = tuple(float(one in present) for one in range(several))
        else:
            label = label_of(columns[2], where)
        folder, frame_name = _split_frame_name(columns[0])
        frame_names.add(frame_name)
        segment = _segment(columns[3:5], path, where)
        num_frames = int(segment.end) if segment and frame_name else None
        videos.append(LabeledVideo(folder, label, num_frames, segment))
    if unlabeled:
        raise DataError(f"video_id_to_label has no label for the video(s) {listed(unlabeled)} of {path}.")
    if len(frame_names) > 1:
        names = listed([str(name) for name in sorted(frame_names, key=str)])
        raise DataError(f"{path}: the frames of its videos go by different names: {names}.")
    return Annotation(videos, frame_name=frame_names.pop() if frame_names else None)


def _segment(columns: Sequence[str], path: Path, where: str) -> Segment | None:
    if not columns:
        return None
    first, last = map(int, columns)
    if not 0 <= first <= last:
        raise DataError(f"{path}, {where}: the frames from {first} to {last} are none.")
    return Segment(first, last + 1, "frames")


def _split_frame_name(path: str) -> tuple[str, str | None]:
    """Split a path into its folder and, with the field named `index`, the name of a frame's file; None without one.

    >>> _split_frame_name("a/b/{frame:05d}.jpg"), _split_frame_name("{flow_direction}/b/x_{:03d}.png")
    (('a/b', '{index:05d}.jpg'), ('{flow_direction}/b', 'x_{index:03d}.png'))
    >>> _split_frame_name("a/b.mp4")
    ('a/b.mp4', None)
    """
    folder, _, name = path.rpartition("/")
    if not _FRAME_FIELD.search(name):
        return path, None
    return folder, _FRAME_FIELD.sub(lambda match: f"{{index{match[1] or ''}}}", name)
