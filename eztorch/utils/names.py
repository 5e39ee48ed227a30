"""Looking things up by name, with an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from eztorch.utils.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like `name`, or None when nothing comes close.

    >>> nearest("tmep", ["temp", "temp_m", "coeff"])
    'temp'
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def choose(table: Mapping[str, T], name: str, key: str) -> T:
    """Return `table[name]`.

    Args:
        table: What there is to choose from.
        name: The user's choice.
        key: The configuration key that the choice came from, for the message.

    Raises:
        ConfigError: The name is not in the table; the message lists what is and suggests the nearest.

    >>> choose({"sgd": 1, "lars": 2}, "lars", "optimizer.name")
    2
    """
    if name in table:
        return table[name]
    close = nearest(str(name), table)
    hint = f" Did you mean {close!r}?" if close else ""
    raise ConfigError(f"{key}={name!r} is not known; expected one of {sorted(table)}.{hint}")
