"""Colours of pictures, for a light and for a dark page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours that contrast with a page.

    Attributes:
        ink: Of text.
        soft: Of text that matters less.
        grid: Of lines behind what is drawn.
        paper: Of the page; pictures have a transparent ground.
        colours: Of what is told apart, the first for what there is most of.
        good: Of what is right.
        bad: Of what is wrong.
    """

    ink: str
    soft: str
    grid: str
    paper: str
    colours: tuple[str, ...]
    good: str
    bad: str


LIGHT = Theme(
    ink="#3f3f46",
    soft="#71717a",
    grid="#e4e4e7",
    paper="#ffffff",
    colours=("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2"),
    good="#059669",
    bad="#dc2626",
)
DARK = Theme(
    ink="#d4d4d8",
    soft="#a1a1aa",
    grid="#3f3f46",
    paper="#232327",
    colours=("#60a5fa", "#fbbf24", "#34d399", "#c084fc", "#f87171", "#22d3ee"),
    good="#34d399",
    bad="#f87171",
)


def theme(*, dark: bool) -> Theme:
    """Return the colours for a page.

    >>> theme(dark=True).paper
    '#232327'
    """
    return DARK if dark else LIGHT
