"""Numbers as people write them."""

from __future__ import annotations


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
