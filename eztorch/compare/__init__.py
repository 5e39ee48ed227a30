"""`eztorch compare`: runs side by side, in the terminal, as JSON or in a page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        f"{parser.description}\n\n"
        "A run is named by its directory or by a file in it, such as its report. A folder that holds runs, as that of\n"
        "a multirun does, stands for all of them; patterns in quotes are expanded."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, folders of runs, or patterns of them")
    parser.add_argument("--sort", metavar="METRIC", help="the best of this metric first (of a loss the lowest)")
    parser.add_argument(
        "--metric",
        action="append",
        dest="metrics",
        metavar="PATTERN",
        help="metrics to show, such as 'val/*'; may be given several times (default: all)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        nargs="?",
        const=Path("compare.html"),
        metavar="FILE",
        help="also write a page with the curves, which opens offline (without FILE: compare.html)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.compare.comparison import compare
    from eztorch.compare.runs import find_runs

    found = find_runs(arguments.runs)
    comparison = compare(found.runs, patterns=arguments.metrics, sort=arguments.sort)
    if arguments.json:
        print(json.dumps(comparison.as_json(found.broken), indent=2))
    else:
        from eztorch.compare.terminal import print_comparison

        print_comparison(comparison)
    for reason in found.broken:
        print(f"eztorch compare: left out: {reason}", file=sys.stderr)
    if arguments.output is not None:
        from eztorch.compare.webpage import write_page

        write_page(comparison, found.broken, arguments.output)
        print(f"{arguments.output}: {len(comparison.runs)} runs", file=sys.stderr)
    return 1 if found.broken else 0
