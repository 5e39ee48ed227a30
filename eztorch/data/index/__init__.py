"""`eztorch data index`: open every file of a folder once and keep what it is beside the data."""

from __future__ import annotations

import argparse
from pathlib import Path

from eztorch.data.listing import KINDS
from eztorch.data.pool import add_workers_argument
from eztorch.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", type=Path, help="folder of the data; the index is kept in it: eztorch_index.jsonl")
    parser.add_argument(
        "--kind",
        choices=("auto", *KINDS),
        default="auto",
        help="what to look for; auto takes a folder of pictures for the frames of a video where the names of the "
        "pictures are numbers in a row (default)",
    )
    parser.add_argument("--again", action="store_true", help="probe everything again, also what has not changed")
    add_workers_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; bad files do not make it fail, `eztorch data check` judges them.

    Raises:
        DataError: There is nothing to probe.
    """
    from rich.console import Console

    from eztorch.data.index.indexing import index_folder, print_summary
    from eztorch.datasets.video_index import INDEX_NAME

    index, probed = index_folder(
        arguments.folder, kind=arguments.kind, workers=arguments.workers, again=arguments.again
    )
    if not len(index):
        raise DataError(f"{arguments.folder}: there is no video, no folder of frames and no image in it.")
    console = Console(highlight=False)
    print_summary(console, index)
    kept = len(index) - probed
    console.print(f"Probed {probed}, {kept} had not changed. Index: {arguments.folder / INDEX_NAME}", soft_wrap=True)
    return 0
