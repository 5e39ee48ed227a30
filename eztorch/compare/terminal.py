"""A comparison in the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from eztorch.compare.comparison import Comparison, Table
from eztorch.engine.tables import print_table

_MOST_ROWS = 40  # of what differs
_NARROWEST = 20  # letters of a cell, before it goes on in the next line
_FRAME = 3  # that the lines beside a cell take


def print_comparison(comparison: Comparison) -> None:
    """Print the tables of a comparison; one that is wider than the terminal goes on below with its further columns."""
    width = shutil.get_terminal_size().columns
    tables = comparison.tables()
    if not tables:
        print("The runs have no metrics, and do not differ in anything that is known of them.")
    for table in tables:
        for part in blocks(table, width):
            print_table(part.title, part.header, part.rows[:_MOST_ROWS])
        more = len(table.rows) - _MOST_ROWS
        if more > 0:
            print(f"... and {more} more; --output and --json have them all.")


def blocks(table: Table, width: int) -> Iterator[Table]:
    """Cut a table into some that fit a width, each with the first column.

    Args:
        table: The table.
        width: Letters that fit side by side.
    """
    lines = (table.header, *table.rows)
    share = max(_NARROWEST, (width - 1) // len(table.header) - _FRAME)  # so that few columns stay side by side
    widths = [min(share, max(len(line[column]) for line in lines)) for column in range(len(table.header))]
    begin = 1
    while begin < len(widths):
        end, taken = begin + 1, widths[0] + widths[begin] + 2 * _FRAME + 1
        while end < len(widths) and taken + widths[end] + _FRAME <= width:
            taken += widths[end] + _FRAME
            end += 1
        chosen = [0, *range(begin, end)]
        title = table.title if begin == 1 else f"{table.title}, continued"
        yield Table(title, [table.header[i] for i in chosen], [[row[i] for i in chosen] for row in table.rows])
        begin = end
