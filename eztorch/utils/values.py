"""Checks of values that a configuration gives."""

from __future__ import annotations

from typing import Any

from eztorch.utils.errors import ConfigError


def as_count(value: Any, key: str, *, at_least: int = 1) -> int:
    """Return a count.

    Args:
        value: What the configuration says.
        key: What messages call it.
        at_least: The smallest that can be.

    Raises:
        ConfigError: The value is not a whole number of at least that.

    >>> as_count(3, "num_clips")
    3
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{key}={value!r}; expected a whole number of at least {at_least}.")
    return value
