"""The videos of a split as arrays."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from eztorch.datasets.annotations.forms import read_annotation
from eztorch.datasets.annotations.labeled_video import Annotation, LabeledVideo
from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import DataError

# What stands for the number of ticks a second where a segment is counted in frames, and where there is none.
_FRAMES, _NO_SEGMENT = -1, 0


class LabeledVideoPaths:
    """The videos of a split, held in arrays so that the processes of a loader share them.

    Args:
        videos: The videos.
        path_prefix: Folder put before every path that is not absolute, by `full_path`.
        classes: Names of the classes in the order of their labels, where they are known.
        frame_name: Name of a frame's file in a folder of frames, a format string over `index`, where the annotation
            has it; frame numbers are then those of the names.

    Raises:
        DataError: Some videos have one label and some several, or not as many weights or targets as the others.

    >>> LabeledVideoPaths([LabeledVideo("a.mp4", 3)], path_prefix="/data").full_path(0)
    '/data/a.mp4'
    """

    def __init__(
        self,
        videos: Sequence[LabeledVideo],
        *,
        path_prefix: str | Path = "",
        classes: Sequence[str] = (),
        frame_name: str | None = None,
    ) -> None:
        self._paths = np.array([os.fsencode(video.path) for video in videos])
        self._labels = _label_array(videos)
        self._num_frames = np.array([video.num_frames or 0 for video in videos], dtype=np.int64)
        self._segments = _segment_array(videos)
        self._targets = _target_arrays(videos)
        self._rows = np.arange(len(videos))
        self.path_prefix = str(path_prefix)
        self.classes = tuple(classes)
        self.frame_name = frame_name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> LabeledVideo:
        row = self._rows[index]
        label = self._labels[row]
        return LabeledVideo(
            os.fsdecode(self._paths[row]),
            tuple(label.tolist()) if self.is_multi_label else int(label),
            int(self._num_frames[row]) or None,
            None if self._segments is None else _segment(*self._segments[row].tolist()),
            {name: int(values[row]) for name, values in self._targets.items()} or None,
        )

    def __iter__(self) -> Iterator[LabeledVideo]:
        return (self[index] for index in range(len(self)))

    def full_path(self, index: int) -> str:
        """Return the path of a video with the prefix before it."""
        return os.path.join(self.path_prefix, os.fsdecode(self._paths[self._rows[index]]))

    def target(self, index: int) -> dict[str, Any]:
        """Return what a sample says of the classes of a video.

        Returns:
            `label`, an int, or float32 of shape (number of classes,) where videos have several labels; and the further
            targets that there are, as ints.

        >>> LabeledVideoPaths([LabeledVideo("a.mp4", 3, targets={"verb": 3, "noun": 0})]).target(0)
        {'label': 3, 'verb': 3, 'noun': 0}
        """
        row = self._rows[index]
        label = torch.from_numpy(self._labels[row].copy()) if self.is_multi_label else int(self._labels[row])
        return {"label": label} | {name: int(values[row]) for name, values in self._targets.items()}

    @property
    def is_multi_label(self) -> bool:
        """Whether a video has a weight for every class instead of one class."""
        return self._labels.ndim == 2

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of every video, -1 for none, shape (N,).

        Raises:
            DataError: A video has several labels.
        """
        if self.is_multi_label:
            raise DataError(
                "These videos have several labels each, so none of them has one class. What needs one, such as a "
                "subset by class, cannot be had of them."
            )
        return self._labels[self._rows]

    def subset(self, indices: ArrayLike) -> LabeledVideoPaths:
        """Return some of the videos; the arrays are those of the whole.

        Args:
            indices: Which ones, in their order.

        >>> videos = LabeledVideoPaths([LabeledVideo("a.mp4", 0), LabeledVideo("b.mp4", 1)])
        >>> videos.subset([1])[0].path
        'b.mp4'
        """
        part = copy.copy(self)
        part._rows = self._rows[np.asarray(indices, dtype=np.int64)]
        return part

    def with_videos(self, videos: Sequence[LabeledVideo]) -> LabeledVideoPaths:
        """Return other videos with the prefix, the classes and the names of frames of these."""
        return LabeledVideoPaths(videos, path_prefix=self.path_prefix, classes=self.classes, frame_name=self.frame_name)

    @classmethod
    def from_path(cls, path: str | Path, *, video_path_prefix: str | Path = "", **options: Any) -> LabeledVideoPaths:
        """Read a folder of classes or an annotation file.

        Args:
            path: The folder or file, in one of the forms that `eztorch.datasets.annotations.forms` describes.
            video_path_prefix: Folder that the paths of a file start from; the videos of a folder are in it.
            **options: Further arguments of `read_annotation`.

        Raises:
            DataError: As in `read_annotation`.
        """
        path = Path(path)
        annotation = read_annotation(path, media=video_path_prefix, **options)
        return cls.of(annotation, path_prefix=path if path.is_dir() else video_path_prefix)

    @classmethod
    def of(cls, annotation: Annotation, *, path_prefix: str | Path = "") -> LabeledVideoPaths:
        """Hold what was read of an annotation."""
        return cls(
            annotation.videos,
            path_prefix=path_prefix,
            classes=annotation.classes,
            frame_name=annotation.frame_name,
        )


def _label_array(videos: Sequence[LabeledVideo]) -> NDArray[Any]:
    sizes = {len(video.label) if isinstance(video.label, tuple) else None for video in videos}
    if sizes <= {None}:
        return np.array([video.label for video in videos], dtype=np.int64)
    if len(sizes) > 1:
        raise DataError("Some videos have one label and some several, or weights for different numbers of classes.")
    return np.array([video.label for video in videos], dtype=np.float32)


def _target_arrays(videos: Sequence[LabeledVideo]) -> dict[str, NDArray[np.int64]]:
    names = {tuple(video.targets or ()) for video in videos}
    if len(names) > 1:
        raise DataError(f"The videos have different targets: {' and '.join(map(str, sorted(names)))}.")
    return {
        name: np.array([(video.targets or {})[name] for video in videos], dtype=np.int64)
        for name in (names.pop() if names else ())
    }


def _segment_array(videos: Sequence[LabeledVideo]) -> NDArray[np.int64] | None:
    """Return start, end and ticks a second of every segment, shape (N, 3); None where there is no segment at all."""
    if all(video.segment is None for video in videos):
        return None
    return np.array([_ticks(video.segment) for video in videos], dtype=np.int64)


def _ticks(segment: Segment | None) -> tuple[int, int, int]:
    if segment is None:
        return 0, 0, _NO_SEGMENT
    if segment.unit == "frames":
        return int(segment.start), int(segment.end), _FRAMES
    start, end = Fraction(segment.start), Fraction(segment.end)
    ticks = math.lcm(start.denominator, end.denominator)
    return int(start * ticks), int(end * ticks), ticks


def _segment(start: int, end: int, ticks: int) -> Segment | None:
    if ticks == _NO_SEGMENT:
        return None
    if ticks == _FRAMES:
        return Segment(start, end, "frames")
    return Segment(Fraction(start, ticks), Fraction(end, ticks), "seconds")
