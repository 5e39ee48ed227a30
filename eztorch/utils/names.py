"""Looking things up by name, with an error that helps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from eztorch.utils.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like `name`, or None when nothing comes close.

    >>> nearest("tmep", ["temp", "temp_m", "coeff"])
    'temp'
    """
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: object, choices: Iterable[str], otherwise: str = "") -> str:
    """Return the end of a message about a name that is not known, with a space before it.

    Args:
        name: The name.
        choices: What it could have been.
        otherwise: What to say where nothing comes close.

    >>> did_you_mean("tmep", ["temp", "coeff"]), did_you_mean("queue", ["temp"], "Known: temp."), did_you_mean("x", [])
    (" Did you mean 'temp'?", ' Known: temp.', '')
    """
    close = nearest(str(name), choices)
    return f" Did you mean {close!r}?" if close else otherwise and f" {otherwise}"


def check_keys(section: Iterable[Any], known: Iterable[str], key: str) -> None:
    """Check that a section of a configuration has known keys alone.

    Args:
        section: The section, or its keys.
        known: Keys that it may have.
        key: What messages call the section.

    Raises:
        ConfigError: It has another one; the message suggests the nearest, or lists all.

    >>> check_keys({"k": 20}, ["k", "bank"], "knn")
    """
    known = list(known)
    for name in section:
        if name not in known:
            hint = did_you_mean(name, known, f"Known: {', '.join(known)}.")
            raise ConfigError(f"{key}.{name}: unknown key.{hint}")


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
    raise ConfigError(f"{key}={name!r} is not known; expected one of {sorted(table)}.{did_you_mean(name, table)}")
