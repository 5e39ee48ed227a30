"""What became of every weight of a file and of a network, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SHOWN = 3


@dataclass
class WeightReport:
    """What became of the weights.

    Attributes:
        source: The file, and where its names come from.
        target: The network.
        matched: Name in the file of each weight of the network that was loaded.
        inflated: Those of them that got a length over time, with both shapes.
        interpolated: Those of them that were interpolated, with both shapes.
        missing: Weights of the network that the file has none for; they keep their values.
        left_over: Weights of the same network in the file that were not used, with the reason where it is known.
        other_parts: Weights of other networks in the file.
    """

    source: str
    target: str
    matched: dict[str, str] = field(default_factory=dict)
    inflated: dict[str, str] = field(default_factory=dict)
    interpolated: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    left_over: dict[str, str] = field(default_factory=dict)
    other_parts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the table: how many, and the first of them."""
        pairs = [f"{name} <- {source}" if name != source else name for name, source in self.matched.items()]
        parts = Counter(name.partition(".")[0] for name in self.other_parts)
        rows = (
            ("matched", f"{len(self.matched)} of {len(self.matched) + len(self.missing)}", some(pairs)),
            ("inflated", str(len(self.inflated)), _changes(self.inflated)),
            ("interpolated", str(len(self.interpolated)), _changes(self.interpolated)),
            ("missing", str(len(self.missing)), some(self.missing)),
            ("left over", str(len(self.left_over)), _reasons(self.left_over)),
            ("other parts", str(len(self.other_parts)), ", ".join(f"{part} {n}" for part, n in parts.items())),
        )
        width = max(len(count) for _, count, _ in rows)
        table = "\n".join(f"  {what:<13}{count:>{width}}  {names}".rstrip() for what, count, names in rows)
        return f"Weights of {self.target} from {self.source}\n{table}"


def some(names: Iterable[str]) -> str:
    """Return the first names of several, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _changes(changes: Mapping[str, str]) -> str:
    return some(f"{name} {change}" for name, change in changes.items())


def _reasons(left: Mapping[str, str]) -> str:
    """Group names by why they are left: those with a reason come first."""
    groups: dict[str, list[str]] = {}
    for name, reason in sorted(left.items(), key=lambda item: not item[1]):
        groups.setdefault(reason, []).append(name)
    return "; ".join(some(names) + (f" ({reason})" if reason else "") for reason, names in groups.items())
