"""The page of a scorecard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from eztorch.visualization.page import page, section, table, text, tiles, wide_picture

_MOST_TILES = 5


class Number(Protocol):
    """A number as the page shows it."""

    @property
    def protocol(self) -> str:
        """How it was measured."""

    @property
    def metric(self) -> str:
        """What it is."""

    @property
    def shown(self) -> str:
        """The number."""

    @property
    def over(self) -> str:
        """How many samples of how many it is over."""

    @property
    def how(self) -> str:
        """What it depends on."""

    @property
    def command(self) -> str:
        """What repeats it."""


class Picture(NamedTuple):
    """A picture of the page, with a title; PNG by day and by night."""

    title: str
    light: bytes
    dark: bytes


def scorecard_page(facts: Mapping[str, Any], numbers: Sequence[Number], pictures: Iterable[Picture]) -> str:
    """Return the page.

    Args:
        facts: `checkpoint` (`path`, `sha256`), `not_measured` (reasons by protocol), `eztorch`, `seconds`.
        numbers: The numbers, those of a protocol together.
        pictures: The pictures.
    """
    weights = facts["checkpoint"]
    origin = [("weights", weights["path"] or "random"), ("sha256", weights["sha256"] or "")]
    origin += [(name, facts[name]) for name in ("model", "datamodule", "eztorch")]
    # The first number of each kind of protocol; those of several k are one kind.
    first = {number.protocol.partition(",")[0]: number for number in reversed(numbers)}
    shown = list(reversed(first.values()))[:_MOST_TILES]
    # What a line says of a protocol is not said again in the next.
    told = zip(numbers, [None, *numbers], strict=False)
    news = [(n, before is None or (n.protocol, n.how) != (before.protocol, before.how)) for n, before in told]
    rows = [(n.protocol * new, n.metric, n.shown, n.over, n.how * new) for n, new in news]
    commands = dict.fromkeys(number.command for number in numbers)
    missing = facts["not_measured"].items()
    return page(
        "Scorecard",
        [
            tiles((f"{n.protocol}: {n.metric}", n.shown, f"{n.over} samples" if n.over else "") for n in shown),
            section("Whose", table(("", ""), origin)),
            section("Numbers", table(("protocol", "metric", "value", "evaluated", "how"), rows, short=4)),
            section("Not measured", table(("protocol", "why"), missing)),
            section("Measure it again", "".join(f"<pre>{text(command)}</pre>" for command in commands)),
            *(section(one.title, wide_picture(one.title, one.light, one.dark)) for one in pictures),
        ],
    )
