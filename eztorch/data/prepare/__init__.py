"""`eztorch data prepare`: make videos and pictures anew, once, so that training reads them fast."""

from __future__ import annotations

import argparse
from pathlib import Path

from eztorch.data.arguments import above_zero, whole_number
from eztorch.data.pool import add_workers_argument
from eztorch.data.prepare.presets import FORMS, SPEEDS, Recipe
from eztorch.data.shards import add_shard_argument, find_shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    forms = "\n".join(f"  {name:<12} {what}" for name, what in FORMS.items())
    parser.description = (
        f"{parser.description}\n\n"
        "The tree of folders stays. Videos keep their frames and when each is shown, also at a variable rate, unless\n"
        "--fps is given; they are turned as they are shown, and their sound is dropped. Pictures keep their format.\n"
        "Nothing is enlarged, and the sources are not touched. A second run does what is missing, has failed or has\n"
        "changed. What cannot be read is listed at the end, with exit status 1.\n\n"
        f"Forms of videos:\n{forms}"
    )
    parser.add_argument("source", type=Path, help="folder of videos, folders of frames or pictures; or one file")
    parser.add_argument("output", type=Path, help="folder of what is made")
    parser.add_argument(
        "--to",
        choices=tuple(FORMS),
        metavar="FORM",
        default="short-gop",
        help="one of the forms above (default: %(default)s)",
    )
    parser.add_argument(
        "--short-side",
        type=_side,
        default=256,
        metavar="PX",
        help="shorter side, 0 keeps the size (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=above_zero, metavar="RATE", help="constant frames a second, 30 or 30000/1001 (default: as it is)"
    )
    parser.add_argument(
        "--crf",
        type=whole_number(0, 51),
        default=23,
        metavar="Q",
        help="quality of videos, 0 the best, 51 the worst (default: %(default)s)",
    )
    parser.add_argument(
        "--speed",
        choices=SPEEDS,
        metavar="NAME",
        default="medium",
        help="preset of x264, ultrafast to veryslow: the slower, the smaller the files (default: %(default)s)",
    )
    parser.add_argument(
        "--quality",
        type=whole_number(1, 100),
        default=90,
        metavar="Q",
        help="quality of JPEG pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--kind", choices=("auto", "video", "frames", "image"), default="auto", help="what to look for (default: all)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="make a few files elsewhere, say how large and how long it would be"
    )
    parser.add_argument(
        "--measure",
        type=whole_number(1, 1000),
        nargs="?",
        const=8,
        metavar="N",
        help="at the end, read clips of N videos before and after, and say how much faster it is (default: 8)",
    )
    add_workers_argument(parser)
    add_shard_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command: exit status 1 when something could not be read."""
    from eztorch.data.prepare.preparing import Preparation

    recipe = Recipe(
        to=arguments.to,
        short_side=arguments.short_side or None,
        crf=arguments.crf,
        speed=arguments.speed,
        quality=arguments.quality,
        fps=arguments.fps,
    )
    work = Preparation.plan(arguments.source, arguments.output, recipe, arguments.kind, find_shard(arguments.shard))
    if arguments.dry_run:
        work.estimate(arguments.workers)
        return 0
    failed = work.run(arguments.workers)
    if arguments.measure:
        work.measure(arguments.measure)
    return 1 if failed else 0


def _side(text: str) -> int:
    if not text.isdecimal() or 0 < int(text) < 16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 16, or 0 to keep the size")
    return int(text)
