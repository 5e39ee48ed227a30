"""Plain values of a configuration against what the argument of a constructor is annotated with."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}


def misfit(value: Any, annotation: Any, *, strictly: bool) -> str | None:
    """Return what an argument expects, where a value is nothing of that; None where it fits, or nobody can tell.

    Only annotations of numbers, texts and truth values are looked at. Texts are never numbers; a number in the place of
    a text, and true as a number, are left to the constructor.

    Args:
        value: What the configuration says.
        annotation: Of the argument, evaluated.
        strictly: Whether the annotation is to be trusted: then null, fractions and lists have to fit as well.

    >>> misfit("abc", float | None, strictly=False), misfit(1, float | None, strictly=True)
    ('a number or null', None)
    >>> misfit(2.5, int, strictly=True), misfit(2.5, list[int], strictly=True)
    ('a whole number', None)
    """
    is_union = get_origin(annotation) in (Union, types.UnionType)
    accepted = get_args(annotation) if is_union else (annotation,)
    if not all(one in _NAMES for one in accepted):
        return None
    wrong = isinstance(value, str) and str not in accepted
    if strictly and str not in accepted:
        wrong |= isinstance(value, float) and float not in accepted
        wrong |= isinstance(value, list | tuple) or (isinstance(value, Mapping) and "_target_" not in value)
    if strictly:
        wrong |= value is None and types.NoneType not in accepted
    # `int | float` is a number.
    names = [_NAMES[one] for one in accepted if not (one is int and float in accepted)]
    return " or ".join(names) if wrong else None
