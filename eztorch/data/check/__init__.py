"""`eztorch data check`: examine data before a run does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.data.arguments import add_experiment_arguments, experiment_of
from eztorch.data.listing import KINDS
from eztorch.data.pool import add_workers_argument
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.data.check.sources import Split


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="[NAME=]PATH",
        help="folders of classes or of splits, and annotation files; with -cn, overrides of the configuration",
    )
    add_experiment_arguments(parser, "check all splits of this experiment", split=False)
    parser.add_argument("--prefix", metavar="DIR", help="folder that the paths of annotation files start from")
    parser.add_argument("--num-classes", type=int, metavar="N", help="number of classes, to check the labels against")
    parser.add_argument("--kind", choices=("auto", *KINDS), default="auto", help="what to look for in folders")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--quick", dest="level", action="store_const", const="quick", help="read headers alone")
    level.add_argument("--decode", dest="level", action="store_const", const="decode", help="decode every frame")
    parser.set_defaults(level="sampled")
    parser.add_argument(
        "--group",
        default="auto",
        metavar="HOW",
        help="what must not be in two splits, as in `eztorch data split` (default: auto, by the form of the names)",
    )
    parser.add_argument("--ignore", action="append", default=[], metavar="KIND", help="leave out a kind of finding")
    parser.add_argument("--strict", action="store_true", help="notes, too, make the exit status 1")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("eztorch_check"),
        metavar="DIR",
        help="folder for report.json and quarantine.txt, and for going on after a stop (default: %(default)s)",
    )
    parser.add_argument(
        "--write-annotation",
        action="store_true",
        help="write the annotation files of the splits, without what is in quarantine, to the output folder",
    )
    add_workers_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    Returns:
        0 where a run on these data is safe, 1 where it is not.
    """
    from rich.console import Console

    from eztorch.data.check.checking import all_findings, examine_all, find_digests
    from eztorch.data.check.findings import check_kinds
    from eztorch.data.check.report import (
        print_findings,
        quarantine,
        report_json,
        write_cleaned,
        write_json,
        write_list,
    )
    from eztorch.data.check.sets import is_evaluation

    check_kinds(arguments.ignore)
    splits, folder = _splits(arguments)
    output = arguments.output
    examined = examine_all(splits, arguments.level, done=output / "examined.jsonl", workers=arguments.workers)
    digests = find_digests(examined, workers=arguments.workers)
    found = all_findings(splits, examined, digests, group=arguments.group, folder=folder)
    findings = [finding for finding in found if finding.kind not in arguments.ignore]

    console = Console(highlight=False, soft_wrap=True)
    print_findings(console, splits, findings, output / "report.json")
    write_json(output / "report.json", report_json(splits, findings, arguments.level))
    left_out = quarantine(splits, findings)
    write_list(output / "quarantine.txt", left_out)
    console.print(f"Report: {output / 'report.json'}. Quarantine: {output / 'quarantine.txt'} ({len(left_out)}).")
    if quarantine([split for split in splits if not is_evaluation(split.name)], findings):
        console.print(
            f"To leave it out of training: ++datamodule.train.dataset.exclude_list={output / 'quarantine.txt'}"
        )
    if arguments.write_annotation:
        for path in write_cleaned(output, splits, findings):
            console.print(f"Cleaned annotation: {path}")
    return int(any(finding.problem or arguments.strict for finding in findings))


def _splits(arguments: argparse.Namespace) -> tuple[list[Split], str | None]:
    """Return what is to be checked, and the folder in which media that no split lists are looked for."""
    from eztorch.data.check.sources import read_sources

    if arguments.config_name is None and not arguments.sources:
        raise ConfigError("what is to be checked? Give a folder, annotation files, or -cn EXPERIMENT dir.data=...")
    if arguments.config_name is None:
        splits = read_sources(
            arguments.sources, prefix=arguments.prefix or "", num_classes=arguments.num_classes, kind=arguments.kind
        )
        return splits, arguments.prefix

    from eztorch.data.check.datamodule import datamodule_splits
    from eztorch.data.experiment import load_datamodule

    datamodule = load_datamodule(experiment_of(arguments, arguments.sources))
    return datamodule_splits(datamodule), None if datamodule.datadir is None else str(datamodule.datadir)
