"""Taking the keys of a method apart: its networks, its target, its schedules each have theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

Keys = TypeVar("Keys")


def taken(keys: Mapping[str, Any], kind: type[Keys]) -> Keys:
    """Return those of some keys that belong to a kind, a `TypedDict`.

    >>> from typing_extensions import TypedDict
    >>> Sizes = TypedDict("Sizes", {"height": int, "width": int})
    >>> taken({"width": 4, "colour": "red"}, Sizes)
    {'width': 4}
    """
    return cast(Keys, {name: value for name, value in keys.items() if name in kind.__annotations__})


def without(keys: Mapping[str, Any], *kinds: type) -> dict[str, Any]:
    """Return the others: those of no kind, so that one that nobody knows reaches the constructor that refuses it."""
    return {name: value for name, value in keys.items() if not any(name in kind.__annotations__ for kind in kinds)}
