"""What is said of the videos of a split before anything is decoded: which are missing, which cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from eztorch.datasets.annotations import Label, LabeledVideoPaths
from eztorch.datasets.annotations.labeled_video import json_of, lines_of, listed, whole_number
from eztorch.datasets.annotations.media import unreadable
from eztorch.datasets.video_index import VideoIndex
from eztorch.utils.errors import ConfigError, DataError


def without_missing(
    videos: LabeledVideoPaths, missing: Sequence[int], *, key: str, split: str, on_missing: str
) -> LabeledVideoPaths:
    """Return the videos that a split goes on with where files are missing.

    Args:
        videos: The videos.
        missing: Which of them are.
        key: The configuration key that lists them, for the message.
        split: Training goes on without them; evaluation keeps them, so that they count among what was expected.
        on_missing: `error` or `warn`.

    Raises:
        DataError: There are missing ones and `on_missing` is `error`, or all are missing.
    """
    if not missing:
        return videos
    paths = listed([videos.full_path(index) for index in missing[:10]], most=3)
    text = f"{key}: {len(missing)} of its {len(videos)} videos are missing, among them {paths.partition(' and ')[0]}."
    if len(missing) == len(videos):
        own = key.removesuffix(".datadir") if key.endswith(".datadir") else f"datamodule.{split}.dataset"
        raise DataError(
            f"{text} Their paths start from datamodule.video_path_prefix (or {own}.video_path_prefix); is it another "
            "folder, or is another decoder meant?"
        )
    if on_missing == "error":
        raise DataError(f"{text} Write datamodule.on_missing=warn to go on without them.")
    goes_on = "Training goes on without them." if split == "train" else "Each counts as one that could not be read."
    rank_zero_warn(f"{text} {goes_on}")
    if split != "train":
        return videos
    gone = set(missing)
    return videos.subset([index for index in range(len(videos)) if index not in gone])


def report_unreadable(
    videos: LabeledVideoPaths, index: VideoIndex, *, key: str, split: str, max_failure_share: float
) -> None:
    """Warn of the videos that an index knows to be unreadable.

    Raises:
        DataError: They are too large a share of a training set.
    """
    known = list(unreadable(videos, index))
    if not known:
        return
    first = listed([f"{path} ({reason})" for path, reason in known], most=3)
    text = f"{key}: {len(known)} of its {len(videos)} videos are unreadable, as {index.folder} has it: {first}."
    if split == "train" and len(known) > max_failure_share * len(videos):
        raise DataError(
            f"{text} That is more than datamodule.max_failure_share={max_failure_share}. "
            "`eztorch data check` lists what is wrong with them."
        )
    rank_zero_warn(text)


def class_names(classes: Sequence[str] | str | Path | None) -> tuple[str, ...]:
    """Return the names of classes, from a file of them, one a line, where a path is given.

    Raises:
        DataError: There is no such file.
        ConfigError: A name is there twice.
    """
    if isinstance(classes, str | Path):
        if not Path(classes).is_file():
            raise DataError(f"datamodule.classes={classes}: there is no such file.")
        classes = [line for line, _ in lines_of(Path(classes))]
    names = tuple(classes or ())
    if len(set(names)) < len(names):
        raise ConfigError(f"datamodule.classes: {listed(sorted({n for n in names if names.count(n) > 1}))} twice.")
    return names


def label_table(labels: Mapping[Any, Any] | str | Path | None, key: str) -> dict[int, Label] | None:
    """Return labels by video id, from a json file where a path is given; None for none.

    Raises:
        DataError: There is no such file, or an id or a label is none.
    """
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        if not Path(labels).is_file():
            raise DataError(f"{key}={labels}: there is no such file.")
        labels = json_of(Path(labels))
    if not isinstance(labels, Mapping):
        raise DataError(f'{key}: expected a mapping such as {{"17": 3, "18": [0.5, 0.5]}}, got {labels!r}.')
    table: dict[int, Label] = {}
    for name, label in labels.items():
        video, weights = whole_number(name), _weights(label)
        if video is None or (weights is None and not isinstance(label, int)):
            raise DataError(
                f"{key}: {name!r}: {label!r} is not a video id and its label, a class or a list of weights."
            )
        table[video] = label if weights is None else weights
    return table


def _weights(label: Any) -> tuple[float, ...] | None:
    if not isinstance(label, list | tuple) or not all(isinstance(one, int | float) for one in label):
        return None
    return tuple(map(float, label))


def with_frame_name(arguments: Mapping[str, Any], frame_name: str | None) -> dict[str, Any]:
    """Return the arguments of a decoder with the names of frames that an annotation has, whose numbers it uses.

    Raises:
        ConfigError: The arguments have other names.
    """
    if frame_name is None:
        return dict(arguments)
    if arguments.get("frame_name", frame_name) != frame_name:
        name = arguments["frame_name"]
        raise ConfigError(f"decoder_args.frame_name={name!r}, but the annotation says {frame_name!r}: leave it out.")
    return {**arguments, "frame_name": frame_name, "first_index": 0}
