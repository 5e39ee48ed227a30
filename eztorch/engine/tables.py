"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Lay rows of two cells out, indented by two.

    >>> print(columns([("a", "one"), ("bcd", "two")]))
      a    one
      bcd  two
    """
    table = list(rows)
    width = max((len(left) for left, _ in table), default=0)
    return "\n".join(f"  {left:<{width}}  {right}".rstrip() for left, right in table)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells that are too wide for the terminal go on in the next line.

    Args:
        title: Above the table.
        header: Names of the columns.
        rows: The cells.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in header:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text and not str: brackets of an override are no markup
    console = Console()
    console.print(Text(title), soft_wrap=True)  # as a title of the table it would be broken where the table ends
    console.print(table)
