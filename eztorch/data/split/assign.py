"""Dealing out groups of media to the parts of a split: seeded, whole groups, each class by the wanted shares."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence

from eztorch.utils.errors import DataError


def assign_groups(
    labels: Sequence[Hashable], groups: Sequence[Hashable], shares: Sequence[float], *, seed: int = 0
) -> list[int]:
    """Return the part of each item, so that no group is in two parts and each class is shared out as wanted.

    Groups are taken from the largest to the smallest, those of equal size in random order, and each goes where the
    squared errors of the class counts, relative to the wanted counts, grow least: the method of Sainte-Lague where all
    groups are of one class and size.

    Args:
        labels: Class of each item.
        groups: Group of each item.
        shares: Wanted share of each part, positive; they are scaled to a sum of 1.
        seed: Of the order of groups.

    Returns:
        The index of a part for each item; the same for the same seed, whatever the order of the items.

    Raises:
        DataError: There are fewer groups than parts.

    >>> assign_groups([0, 0, 0, 0, 1, 1], ["a", "a", "b", "c", "d", "e"], [1, 1])
    [0, 0, 1, 1, 1, 0]
    """
    members: dict[Hashable, Counter[Hashable]] = {}
    for label, group in zip(labels, groups, strict=True):
        members.setdefault(group, Counter())[label] += 1
    if len(members) < len(shares):
        raise DataError(f"There are {len(members)} groups for {len(shares)} parts, so some part would be empty.")
    totals, whole = Counter(labels), sum(shares)
    wanted = [{label: share / whole * count for label, count in totals.items()} for share in shares]
    dealt: list[Counter[Hashable]] = [Counter() for _ in shares]
    order = sorted(members, key=str)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: members[group].total(), reverse=True)
    part_of: dict[Hashable, int] = {}
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        empty = [part for part, counts in enumerate(dealt) if not counts]
        parts = empty if len(empty) == left else range(len(shares))  # the last groups go where there is nothing yet
        errors = {part: _error(members[group], dealt[part], wanted[part]) for part in parts}
        part_of[group] = min(errors, key=lambda part: errors[part])
        dealt[part_of[group]] += members[group]
    return [part_of[group] for group in groups]


def _error(group: Counter[Hashable], dealt: Counter[Hashable], wanted: dict[Hashable, float]) -> float:
    """Return how much the relative squared error of a part grows with a group."""
    return sum(
        ((dealt[label] + count - wanted[label]) ** 2 - (dealt[label] - wanted[label]) ** 2) / wanted[label]
        for label, count in group.items()
    )
