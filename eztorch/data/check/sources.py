"""What is to be checked: splits of media, read so that one bad line does not hide the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from eztorch.data.check.findings import Finding
from eztorch.data.listing import IMAGE_SUFFIXES, Medium, list_media, suffix
from eztorch.datasets.annotations import VIDEO_EXTENSIONS, LabeledVideo
from eztorch.datasets.annotations.forms import read_annotation, read_csv_lines
from eztorch.datasets.annotations.frame_list import is_frame_list
from eztorch.datasets.annotations.kinetics import is_kinetics_csv
from eztorch.datasets.annotations.labeled_video import label_check, lines_of
from eztorch.utils.errors import ConfigError, DataError

SPLIT_FOLDERS = ("train", "training", "val", "valid", "validation", "test", "testing")


class Item(NamedTuple):
    """A medium of a split.

    Attributes:
        path: The file or folder of frames, absolute.
        name: As the annotation has it.
        kind: See `eztorch.data.listing.Medium`.
        labels: Its classes; one, or none, or several for multi-label data.
        num_frames: Number of frames, where the annotation says it.
        part: Which part of it is meant, empty for all of it.
    """

    path: str
    name: str
    kind: str
    labels: tuple[int, ...] = ()
    num_frames: int | None = None
    part: str = ""


@dataclass
class Split:
    """A split that is to be checked.

    Attributes:
        name: Its name.
        items: What is in it.
        source: The annotation or folder that it was read from.
        classes: Names of the classes in the order of their labels, where they are known.
        num_classes: Number of classes, None where it is not known.
        findings: What reading it found.
    """

    name: str
    items: list[Item]
    source: str
    classes: tuple[str, ...] = ()
    num_classes: int | None = None
    findings: list[Finding] = field(default_factory=list)

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its number where names are not known."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)


def read_sources(
    words: Sequence[str], *, prefix: str = "", num_classes: int | None = None, kind: str = "auto"
) -> list[Split]:
    """Read the splits that the command line names.

    Args:
        words: Folders and annotation files, each with `NAME=` before it or not. A folder that has folders like `train`
            and `val` stands for as many splits; one that has a single folder of classes in it, for that.
        prefix: Folder that the paths of annotation files start from.
        num_classes: Number of classes, None where it is not known.
        kind: See `eztorch.data.listing.list_media`.

    Raises:
        DataError: There is nothing at a path, or a folder has no media.
        ConfigError: Two splits have one name.
    """
    splits: list[Split] = []
    for word in words:
        name, path = _named(word)
        if path.is_dir():
            splits += _folder_splits(name, path, num_classes, kind)
        elif path.is_file():
            splits.append(file_split(name or path.stem, path, prefix, num_classes))
        else:
            raise DataError(f"{path}: there is no such folder or annotation file.")
    twice = {split.name for split in splits if sum(split.name == other.name for other in splits) > 1}
    if twice:
        raise ConfigError(f"Two splits are called {min(twice)}; give them names: train=PATH val=PATH.")
    _share_classes(splits)
    return splits


def _folder_splits(name: str, folder: Path, num_classes: int | None, kind: str) -> list[Split]:
    """Read a folder that is a split, or that has one in each of the folders `train`, `val` and so on."""
    media = list_media(folder, kind)
    if not media:
        raise DataError(f"{folder}: there is no video, no folder of frames and no image in it.")
    while len(tops := {one.path.partition("/")[0] for one in media}) == 1 and all(
        one.path.count("/") > 1 for one in media
    ):
        folder, media = _below(folder, media, tops.pop())  # such as UCF-101/<class>/<video>
    parts = [part for part in SPLIT_FOLDERS if part in tops] if not name else []
    if not parts:
        return [folder_split(name or folder.name, folder, media, num_classes)]
    splits = [folder_split(part, *_below(folder, media, part), num_classes) for part in parts]
    others = (one.path for one in media if one.path.partition("/")[0] not in parts)
    splits[0].findings += [Finding("unlisted", "", path, f"it is not in {' or '.join(parts)}") for path in others]
    return splits


def _below(folder: Path, media: Sequence[Medium], name: str) -> tuple[Path, list[Medium]]:
    below = f"{name}/"
    return folder / name, [one._replace(path=one.path[len(below) :]) for one in media if one.path.startswith(below)]


def folder_split(name: str, folder: Path, media: Sequence[Medium], num_classes: int | None) -> Split:
    """Make a split of the media in a folder of classes, or in a folder without classes."""
    classes = tuple(sorted({medium.path.partition("/")[0] for medium in media if "/" in medium.path}))
    split = Split(name, [], str(folder), classes, num_classes)
    label_of = {one: label for label, one in enumerate(classes)}
    for medium in media:
        labels = (label_of[medium.path.partition("/")[0]],) if "/" in medium.path else ()
        why = _out_of_reach(medium) if classes else None
        if why:
            split.findings.append(Finding("unlisted", name, medium.path, why))
        else:
            path = os.path.abspath(folder / medium.path)
            split.items.append(Item(path, medium.path, medium.kind, labels))
    return split


def file_split(name: str, path: Path, prefix: str, num_classes: int | None) -> Split:
    """Read an annotation file; the lines of a csv file one by one, so that all bad ones are found."""
    split = Split(name, [], str(path), num_classes=num_classes)
    videos: list[LabeledVideo] = []
    try:
        lines = [] if path.suffix == ".json" else lines_of(path)
        if path.suffix == ".json" or is_kinetics_csv(lines) or is_frame_list(lines):
            annotation = read_annotation(path, media=prefix)
            videos, split.classes = annotation.videos, annotation.classes
        for line, where in () if videos else lines:
            try:
                videos += read_csv_lines(path, [(line, where)], label_check(path, None))
            except DataError as error:
                split.findings.append(Finding("bad-line", name, str(path), _without(str(error), path)))
    except DataError as error:
        split.findings.append(Finding("bad-line", name, str(path), _without(str(error), path)))
    split.items = [video_item(video, os.path.join(prefix, video.path)) for video in videos]
    return split


def _named(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    return (name, Path(path)) if equals and not Path(word).exists() else ("", Path(word))


def _out_of_reach(medium: Medium) -> str | None:
    """Say why a datamodule that is given the folder of classes does not find a medium."""
    depth = medium.path.count("/")
    if depth == 0:
        return "it is in no class folder"
    if medium.kind != "image" and depth > 1:
        return "it is deeper than <class>/<video>"
    if medium.kind == "video" and suffix(medium.path) not in VIDEO_EXTENSIONS:
        return f"a folder of classes takes files of {' '.join(VIDEO_EXTENSIONS)}"
    return None


def _share_classes(splits: Sequence[Split]) -> None:
    """Label folders as datamodules do: by the classes of the training split, further ones behind them."""
    folders = [split for split in splits if os.path.isdir(split.source) and split.classes]
    if not folders:
        return
    first = folders[0].classes
    for split in folders[1:]:
        names = (*first, *(name for name in split.classes if name not in first))
        place = {name: label for label, name in enumerate(names)}
        split.items = [one._replace(labels=tuple(place[split.classes[i]] for i in one.labels)) for one in split.items]
        split.classes = names
        if len(names) > len(first):
            why = f"class folders that {folders[0].name} does not have: {', '.join(names[len(first) :])}"
            split.findings.append(Finding("bad-label", split.name, split.source, why))


def video_item(video: LabeledVideo, path: str) -> Item:
    """Return what an annotation says of a video, as an item."""
    labels = (
        tuple(label for label, weight in enumerate(video.label) if weight > 0)
        if isinstance(video.label, tuple)
        else ()
        if video.label == -1
        else (video.label,)
    )
    part = "" if video.segment is None else str(tuple(video.segment))
    return Item(os.path.abspath(path), video.path, _kind(path), labels, video.num_frames, part)


def _kind(path: str) -> str:
    if os.path.isdir(path) or not suffix(path):
        return "frames"
    return "image" if suffix(path) in IMAGE_SUFFIXES else "video"


def _without(message: str, path: Path) -> str:
    return message.removeprefix(f"{path}, ").removeprefix(f"{path}: ")
