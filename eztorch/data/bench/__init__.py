"""`eztorch data bench`: how fast the data can be read, and what would make it faster."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from eztorch.data.arguments import above_zero, add_experiment_arguments, experiment_of, whole_number
from eztorch.utils.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        f"{parser.description}\n\n"
        "Each decoder reads the same clips of the same files in turn, on one core; what counts is CPU time, without\n"
        "the wait for the disk. Some of the videos are made anew in a temporary folder, as `eztorch data prepare`\n"
        "does, and read as well. With -cn, the clips, the frames of them and the files are those of the experiment."
    )
    parser.add_argument(
        "sources", nargs="*", metavar="PATH", help="folders or files; with -cn, overrides of the configuration"
    )
    add_experiment_arguments(parser, "bench a split of this experiment")
    parser.add_argument(
        "--files", type=whole_number(1), default=12, metavar="N", help="files of the sample (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        type=whole_number(0),
        default=8,
        metavar="N",
        help="frames of a clip, 0 for all (default: %(default)s)",
    )
    parser.add_argument(
        "--clip-duration",
        type=above_zero,
        default=Fraction(64, 25),
        metavar="S",
        help="seconds that they are from (default: 2.56)",
    )
    parser.add_argument(
        "--clips",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="clips of a video, read together (default: %(default)s)",
    )
    parser.add_argument(
        "--fps", type=above_zero, default=Fraction(30), metavar="RATE", help="of folders of frames (default: 30)"
    )
    parser.add_argument(
        "--feed",
        type=above_zero,
        metavar="N",
        help="clips a second that your training takes: how many workers are needed?",
    )
    parser.add_argument(
        "--seconds", type=above_zero, default=Fraction(30), metavar="S", help="begin no round after that (default: 30)"
    )
    parser.add_argument("--no-prepare", action="store_true", help="do not try what `eztorch data prepare` would gain")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def run(arguments: argparse.Namespace) -> int:
    """Run the command: exit status 1 when some of the files cannot be read."""
    from eztorch.data.bench.benching import run_bench
    from eztorch.data.bench.sources import Files, Source, load_experiment
    from eztorch.data.bench.throughput import Shape

    if arguments.config_name is None and not arguments.sources:
        raise ConfigError("what is to be read? Give a folder, or -cn EXPERIMENT dir.data=...")
    source: Source
    if arguments.config_name is None:
        shape = Shape(arguments.frames or None, arguments.clip_duration, arguments.clips)
        source = Files(arguments.sources, shape, arguments.files, arguments.fps)
    else:
        source = load_experiment(experiment_of(arguments, arguments.sources), arguments.split, arguments.files)
    feed = None if arguments.feed is None else float(arguments.feed)
    result = run_bench(source, float(arguments.seconds), copies=not arguments.no_prepare)
    result.show(feed)
    if arguments.json is not None:
        result.write_json(arguments.json, feed)
    return 1 if result.failed else 0
