"""Curves of a run's metrics."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eztorch.visualization.theme import theme

Curve = tuple[list[float], list[float]]

_FEW, _MANY = 25, 120  # values: up to the first with markers, beyond the second smoothed when they are noisy
_DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))  # told apart by, where there are more curves than colours
_WIDTH, _LEGEND_SIZE = 5.2, 8  # inches of a chart, points of the letters of its legend
_LEGEND_HANDLE = 4 * _LEGEND_SIZE  # points that a label takes beside its letters


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """Read a `metrics.csv`.

    Args:
        path: A table with a column `step` and a column a metric; empty cells are skipped.

    Returns:
        For each metric its steps and its values, in the order of the steps.
    """
    curves: dict[str, Curve] = {}
    with Path(path).open(newline="") as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: int(row["step"]))
    for row in rows:
        for name, value in row.items():
            if name != "step" and value:
                steps, values = curves.setdefault(name, ([], []))
                steps.append(float(row["step"]))
                values.append(float(value))
    return curves


@dataclass(frozen=True)
class Chart:
    """What one picture of curves shows.

    Attributes:
        title: Above the curves.
        curves: Steps and values by label.
        levels: Horizontal lines by label, such as chance.
        is_share: The values are shares, 0 to 1, and are shown in percent.
        is_noisy: A running mean is drawn over the values where there are many.
    """

    title: str
    curves: Mapping[str, Curve]
    levels: Mapping[str, float] = field(default_factory=dict)
    is_share: bool = False
    is_noisy: bool = False


def draw_chart(chart: Chart, *, dark: bool = False) -> bytes:
    """Draw a chart as a PNG on a transparent ground.

    Args:
        chart: What to draw.
        dark: For a dark page.

    >>> draw_chart(Chart("loss", {"loss": ([0, 1], [2.0, 1.0])}))[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    colours = theme(dark=dark)
    figure = Figure(figsize=(_WIDTH, 2.7), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    looks = itertools.cycle(itertools.product(_DASHES, colours.colours))
    for (label, curve), (dashes, colour) in zip(chart.curves.items(), looks, strict=False):
        _draw_curve(axes, label, curve, colour, dashes, is_noisy=chart.is_noisy)
    for label, level in chart.levels.items():
        axes.axhline(level, color=colours.ink, linewidth=1, linestyle=(0, (4, 3)), label=label)
    axes.set_title(chart.title, loc="left", fontsize=10, color=colours.ink, fontweight="bold")
    axes.set_xlabel("optimizer step", fontsize=8, color=colours.ink)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if chart.is_share:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.tick_params(colors=colours.ink, labelsize=8, length=0)
    axes.grid(color=colours.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(colours.grid)
    if len(chart.curves) + len(chart.levels) > 1:
        options = {"fontsize": _LEGEND_SIZE, "frameon": False, "labelcolor": colours.ink, "handlelength": 1.4}
        columns = _legend_columns([*chart.curves, *chart.levels])
        figure.legend(loc="outside lower center", ncols=columns, columnspacing=1.2, **options)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", transparent=True)
    return picture.getvalue()


def _draw_curve(axes: Any, label: str, curve: Curve, colour: str, dashes: Any, *, is_noisy: bool) -> None:
    steps, values = curve
    if len(values) <= _MANY or not is_noisy:
        marker = "o" if len(values) <= _FEW else None
        axes.plot(
            steps, values, color=colour, linewidth=1.6, linestyle=dashes, marker=marker, markersize=3, label=label
        )
    else:
        axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
        smooth = running_mean(values, len(values) // 30)
        axes.plot(steps, smooth, color=colour, linewidth=1.6, linestyle=dashes, label=label)


def _legend_columns(labels: Sequence[str]) -> int:
    """Return how many labels stand side by side: 4, or as many as fit."""
    from eztorch.visualization.canvas import DPI, text_width

    for columns in (4, 3, 2):
        fewest, longer = divmod(len(labels), columns)  # the first columns have one more
        ends = [fewest * column + min(column, longer) for column in range(columns + 1)]
        parts = [labels[begin:end] for begin, end in itertools.pairwise(ends) if begin < end]
        letters = sum(max(text_width(label, size=_LEGEND_SIZE) for label in part) for part in parts)
        if letters * 72 / DPI + len(parts) * _LEGEND_HANDLE <= 72 * _WIDTH:
            return columns
    return 1


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Average each value with its neighbours, at most `width` on either side.

    >>> running_mean([0.0, 3.0, 6.0, 0.0], 1)
    [1.5, 3.0, 3.0, 3.0]
    """
    parts = [values[max(0, index - width) : index + width + 1] for index in range(len(values))]
    return [sum(part) / len(part) for part in parts]
