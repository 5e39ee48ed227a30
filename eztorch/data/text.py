"""Numbers as people write them."""

from __future__ import annotations

from collections.abc import Sequence


def amount(number: int, unit: str, units: str | None = None) -> str:
    """Write a number of things.

    Args:
        number: How many.
        unit: One of them.
        units: Several, where that is not the one with an s.

    >>> amount(1, "file"), amount(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {unit if number == 1 else units or unit + 's'}"


def size(number: float) -> str:
    """Write a number of bytes.

    >>> [size(number) for number in (999, 2930000, 1.25e12)]
    ['999 B', '2.93 MB', '1.25 TB']
    """
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def figure(number: float) -> str:
    """Write a measured number with the digits that count.

    >>> figure(1023.4), figure(33.71), figure(0.98765)
    ('1023', '33.7', '0.988')
    """
    return f"{number:.0f}" if number >= 999.5 else f"{number:.3g}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay cells out in columns, the first to the left and the others to the right, indented by two.

    >>> print(table([("decoder", "clips/s"), ("pyav", "23.1")]))
      decoder  clips/s
      pyav        23.1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (
        [f"{cell:{'<' if i == 0 else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    )
    return "\n".join("  " + "  ".join(line).rstrip() for line in cells)
