"""`eztorch data split`: write the annotation files of a split."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.data.pool import add_workers_argument
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.data.split.splitting import Source, Splits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "source", type=Path, help="folder of classes (videos, or folders of frames) or annotation file to split"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the files that are written")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--ratios",
        nargs="+",
        metavar="R",
        help="shares of train and val, or train, val and test, or NAME=SHARE for each (default: 0.8 0.2)",
    )
    how.add_argument("--folds", type=int, metavar="K", help="K folds: fold1_train, fold1_val and so on")
    how.add_argument("--all", metavar="NAME", help="one file of all videos, NAME.csv; nothing is split")
    how.add_argument(
        "--official", choices=("ucf101", "hmdb51"), help="the official splits, with the paths and frames of the source"
    )
    parser.add_argument("--lists", type=Path, metavar="DIR", help="folder of the official lists")
    parser.add_argument(
        "--split-id", type=int, nargs="+", choices=(1, 2, 3), default=(1, 2, 3), help="official splits (default: all)"
    )
    parser.add_argument(
        "--group",
        default="auto",
        metavar="HOW",
        help="what must stay together: ucf101, hmdb51, kinetics (the source of a clip in its name), none, or a regular "
        "expression over the path, whose first parenthesis is the group (default: auto, by the form of the names)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order in which groups are dealt out (default: 0)")
    parser.add_argument("--format", choices=("csv", "json"), default="csv", help="form of the files (default: csv)")
    parser.add_argument("--num-frames", action="store_true", help="write the number of frames of files, too")
    parser.add_argument(
        "--kind", choices=("auto", "video", "frames"), default="auto", help="what to look for in the folder"
    )
    parser.add_argument("--prefix", type=Path, help="folder that the paths of an annotation file start from")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_workers_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console

    from eztorch.data.split.annotation_files import refuse_existing, write_annotation
    from eztorch.data.split.groups import find_groups
    from eztorch.data.split.splitting import print_splits, with_num_frames

    console = Console(highlight=False, soft_wrap=True)
    source, official = _read(arguments)
    how, groups = find_groups([video.path for video in source.videos], arguments.group)
    splits = official or _split(arguments, source, groups)
    suffix = ".txt" if official else f".{arguments.format}"
    files = {name: arguments.output / f"{name}{suffix}" for name in splits}
    refuse_existing(files.values(), force=arguments.force)

    every = arguments.num_frames or bool(official)
    videos = with_num_frames(source, every=every, workers=arguments.workers).videos
    print_splits(console, source, splits, groups)
    if arguments.all is None:
        kept = "nothing tells the sources, so every video is a group of its own" if how == "none" else f"by {how}"
        console.print(f"Groups: {kept}. Paths start from {source.prefix}.", markup=False)
    for name, rows in splits.items():
        files[name] = path = write_annotation(files[name], [videos[row] for row in rows])
        note = " (json, since a path cannot stand in a csv file)" if path.suffix == ".json" != suffix else ""
        console.print(f"{path}{note}", markup=False)
    _write_classes(arguments.output, source.classes, arguments.official)
    use = [
        f"++datamodule.{name}.dataset.datadir={path}"
        for name, path in files.items()
        if name in ("train", "val", "test")
    ]
    if use:
        console.print(f"For a run: {' '.join(use)} datamodule.video_path_prefix={source.prefix}", markup=False)
    return 0


def _write_classes(folder: Path, names: Sequence[str], official: str | None) -> None:
    """Write the names of the classes in the order of their labels; for UCF101 in its own form, beside its lists."""
    from eztorch.utils.files import atomic_file

    if not names:
        return
    lines = [f"{number} {name}" for number, name in enumerate(names, start=1)] if official == "ucf101" else names
    with atomic_file(folder / ("classInd.txt" if official == "ucf101" else "classes.txt")) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")


def _read(arguments: argparse.Namespace) -> tuple[Source, Splits | None]:
    from eztorch.data.split.splitting import read_official, read_source

    if not arguments.official:
        return read_source(arguments.source, kind=arguments.kind, prefix=arguments.prefix), None
    if arguments.lists is None:
        raise ConfigError(f"--official {arguments.official} needs --lists, the folder of the official lists.")
    return read_official(arguments.official, arguments.lists, arguments.split_id, arguments.source)


def _split(arguments: argparse.Namespace, source: Source, groups: Sequence[str]) -> Splits:
    from eztorch.data.split.splitting import parse_ratios, split_by_ratios, split_in_folds

    if arguments.all is not None:
        return {arguments.all: list(range(len(source.videos)))}
    if arguments.folds is not None:
        return split_in_folds(source, arguments.folds, groups, seed=arguments.seed)
    return split_by_ratios(source, parse_ratios(arguments.ratios or ["0.8", "0.2"]), groups, seed=arguments.seed)
