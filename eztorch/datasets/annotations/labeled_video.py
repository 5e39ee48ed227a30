"""One video of a split, and the checks that all forms of annotation share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eztorch.utils.errors import DataError

if TYPE_CHECKING:
    from eztorch.datasets.decoders.reader import Segment


class LabeledVideo(NamedTuple):
    """One video of a split, or one part of a long video.

    Attributes:
        path: Video file, or folder of frames, as the annotation has it.
        label: Class, -1 for none; where a video has several labels, a weight for every class.
        num_frames: Number of frames of the whole video, None where the annotation does not say it.
        segment: The part of the video that is meant, None for all of it.
        targets: Further classes of the video by name, for example `verb` and `noun`.
    """

    path: str
    label: int | tuple[float, ...] = -1
    num_frames: int | None = None
    segment: Segment | None = None
    targets: Mapping[str, int] | None = None


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
