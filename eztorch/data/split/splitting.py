"""From a folder or lists to the annotation files of a split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eztorch.data.check.sources import SPLIT_FOLDERS
from eztorch.data.index.probe import probe
from eztorch.data.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Medium, frame_numbers, list_files, list_media, suffix
from eztorch.data.pool import run_all
from eztorch.data.progress import progress
from eztorch.data.split.annotation_files import needs_num_frames
from eztorch.data.split.assign import assign_groups
from eztorch.datasets.annotations import LabeledVideo
from eztorch.datasets.annotations.action_lists import read_hmdb51, read_ucf101
from eztorch.datasets.annotations.forms import read_annotation
from eztorch.datasets.video_index import VideoIndex
from eztorch.utils.errors import ConfigError, DataError

OFFICIAL = {"ucf101": read_ucf101, "hmdb51": read_hmdb51}
# The rows of the videos of each split, by its name.
Splits: TypeAlias = dict[str, list[int]]


@dataclass(frozen=True)
class Source:
    """The videos that are to be split.

    Attributes:
        videos: The videos, their paths relative to `prefix`.
        classes: Names of the classes in the order of their labels, where they are known.
        prefix: Folder that the paths start from.
    """

    videos: list[LabeledVideo]
    classes: tuple[str, ...]
    prefix: Path


def read_source(path: Path, *, kind: str = "auto", prefix: Path | None = None) -> Source:
    """Read a folder of classes, a folder of videos without classes, or an annotation file.

    Args:
        path: The folder or file.
        kind: See `list_media`; images are left out.
        prefix: For a file, the folder that its paths start from.

    Raises:
        DataError: There is no video in it.
    """
    if not path.is_dir():
        annotation = read_annotation(path, media=prefix or "")
        return Source(annotation.videos, annotation.classes, prefix or path.parent)
    media = [medium for medium in list_media(path, kind) if medium.kind != "image"]
    if not media:
        raise DataError(f"{path}: there is no video and no folder of frames in it (--kind {kind}).")
    parts = [name for name in SPLIT_FOLDERS if (path / name).is_dir()]
    if parts:
        raise DataError(f"{path}: it is split already, into {', '.join(parts)}. Give one of these folders.")
    classes = tuple(sorted({medium.path.partition("/")[0] for medium in media if "/" in medium.path}))
    label_of = {name: label for label, name in enumerate(classes)}
    return Source(
        [LabeledVideo(one.path, label_of.get(one.path.partition("/")[0], -1)) for one in media], classes, path
    )


def read_official(name: str, lists: Path, split_ids: Sequence[int], folder: Path) -> tuple[Source, Splits]:
    """Read official lists, and find their videos in a folder, whatever their extension, or as folders of frames.

    Args:
        name: A name in `OFFICIAL`.
        lists: Folder of the lists.
        split_ids: Which of the three official splits.
        folder: Folder of the videos, or of the folders of frames.

    Returns:
        All videos of the lists, and which of them are in `trainlist01`, `testlist01` and so on.

    Raises:
        DataError: A list cannot be read, or videos of it are not there.
    """
    there = {one.path if one.kind == "frames" else _stem(one.path): one.path for one in list_media(folder)}
    rows: dict[str, int] = {}
    videos: list[LabeledVideo] = []
    splits: Splits = {}
    for split_id in split_ids:
        for subset in ("train", "test"):
            annotation = OFFICIAL[name](lists, subset, split_id)
            missing = [video.path for video in annotation.videos if _stem(video.path) not in there]
            if missing:
                raise DataError(
                    f"{folder}: {len(missing)} of the {len(annotation.videos)} videos of {name}, {subset} list "
                    f"{split_id}, are not there, for example {missing[0]}."
                )
            for video in annotation.videos:
                path = there[_stem(video.path)]
                if rows.setdefault(path, len(videos)) == len(videos):
                    videos.append(video._replace(path=path, num_frames=None))
            splits[f"{subset}list{split_id:02d}"] = [rows[there[_stem(video.path)]] for video in annotation.videos]
    return Source(videos, annotation.classes, folder), splits


def with_num_frames(source: Source, *, every: bool, workers: int = 0) -> Source:
    """Add the numbers of frames: of folders of frames always, of files where their path needs it.

    What an index of the folder knows is not opened again.

    Args:
        source: The videos.
        every: Also of all files.
        workers: Processes that open files; 0 works in this one.
    """
    index = VideoIndex.find(source.prefix)
    counts: dict[str, int | None] = {}
    unknown: list[Medium] = []
    for video in source.videos:
        path = source.prefix / video.path
        is_folder = path.is_dir()
        if video.num_frames is not None or not (every or is_folder or needs_num_frames(video)):
            continue
        facts = index.facts(os.path.abspath(path)) if index is not None else None
        if facts is not None:
            counts[video.path] = facts.num_frames
        elif is_folder:
            frames = frame_numbers(list_files(path, lambda name: suffix(name) in IMAGE_SUFFIXES))
            counts[video.path] = frames and frames.num_frames
        else:
            unknown.append(Medium(video.path, "video"))
    if unknown:
        with progress("Counting frames", len(unknown)) as bar:
            for outcome in run_all(partial(probe, source.prefix), unknown, workers=workers):
                counts[outcome.item.path] = None if outcome.value is None else outcome.value.num_frames
                bar.advance()
    videos = [video._replace(num_frames=video.num_frames or counts.get(video.path)) for video in source.videos]
    return Source(videos, source.classes, source.prefix)


def parse_ratios(words: Sequence[str]) -> dict[str, float]:
    """Read the shares of splits: `0.8 0.2`, `0.7 0.1 0.2` or `train=7 dev=3`; only their proportions count.

    Raises:
        ConfigError: A share is no positive number, or a name is missing.

    >>> parse_ratios(["0.8", "0.2"])
    {'train': 0.8, 'val': 0.2}
    """
    names = ("train", "val", "test")
    if len(words) < 2 or (len(words) > len(names) and not all("=" in word for word in words)):
        raise ConfigError("--ratios: expected two or three numbers for train, val and test, or NAME=NUMBER for each.")
    shares: dict[str, float] = {}
    for default, word in zip((*names, *words), words, strict=False):
        name, _, number = word.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if not 0 < share < float("inf") or (name or default) in shares:
            raise ConfigError(f"--ratios {word}: expected a positive number, with names that differ.")
        shares[name or default] = share
    return shares


def split_by_ratios(source: Source, shares: Mapping[str, float], groups: Sequence[str], *, seed: int = 0) -> Splits:
    """Split videos by shares, whole groups; see `assign_groups`."""
    parts = assign_groups([video.label for video in source.videos], groups, list(shares.values()), seed=seed)
    return {name: [row for row, part in enumerate(parts) if part == number] for number, name in enumerate(shares)}


def split_in_folds(source: Source, num_folds: int, groups: Sequence[str], *, seed: int = 0) -> Splits:
    """Split videos into folds of one size, whole groups: `fold1_train` and `fold1_val`, and so on.

    Raises:
        ConfigError: There are fewer than two folds.
    """
    if num_folds < 2:
        raise ConfigError(f"--folds {num_folds}: expected at least 2.")
    parts = assign_groups([video.label for video in source.videos], groups, [1] * num_folds, seed=seed)
    splits: Splits = {}
    for fold in range(num_folds):
        splits[f"fold{fold + 1}_train"] = [row for row, part in enumerate(parts) if part != fold]
        splits[f"fold{fold + 1}_val"] = [row for row, part in enumerate(parts) if part == fold]
    return splits


def print_splits(console: Console, source: Source, splits: Splits, groups: Sequence[str]) -> None:
    """Print what each split got, and which classes it lacks."""
    labels = sorted({int(video.label) for video in source.videos if isinstance(video.label, int)} - {-1})
    table = Table("split", "videos", "share", "groups", "classes", "videos a class", box=None, pad_edge=False)
    lacking = []
    for name, rows in splits.items():
        counts = Counter(source.videos[row].label for row in rows if source.videos[row].label != -1)
        table.add_row(
            escape(name),
            str(len(rows)),
            f"{len(rows) / len(source.videos):.1%}",
            str(len({groups[row] for row in rows})),
            f"{len(counts)} of {len(labels)}" if labels else "none",
            f"{min(counts.values())} to {max(counts.values())}" if counts else "",
        )
        missing = [source.classes[label] if source.classes else str(label) for label in labels if label not in counts]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            lacking.append(f"{name} has no video of {', '.join(missing[:5])}{more}.")
    console.print(table)
    for line in lacking:
        console.print(line, style="yellow", markup=False)


def _stem(path: str) -> str:
    return os.path.splitext(path)[0] if suffix(path) in VIDEO_SUFFIXES else path
