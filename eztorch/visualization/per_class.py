"""The accuracy of each class, sorted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import NORMAL, TITLE, Canvas, class_name

_ROWS = 20  # of a column
_LINE, _COLUMN, _GAP, _TOP = 20, 400, 36, 62  # pixels
_NAME, _NUMBER = 160, 110  # pixels of a column that are left for a name, and for what stands behind a bar
_BINS = 20


def class_accuracy_figure(
    correct: npt.NDArray[np.integer],
    total: npt.NDArray[np.integer],
    names: Sequence[str] | None = None,
    *,
    dark: bool = False,
) -> Figure:
    """Draw the accuracy of each class as bars, the lowest first.

    Of more than 60 classes the 20 with the lowest and the 20 with the highest accuracy are shown, and how the
    accuracies of all are distributed. Classes without samples are left out, and counted.

    Args:
        correct: Samples of each class that were classified rightly, shape (K,).
        total: Samples of each class, shape (K,).
        names: Names of the classes.
        dark: For a dark page.

    Raises:
        ConfigError: No class has a sample.
    """
    correct, total = np.asarray(correct), np.asarray(total)
    known = np.flatnonzero(total)
    if not len(known):
        raise ConfigError("The accuracy of classes needs samples; none of the classes has one.")
    accuracy = correct[known] / total[known]
    order = np.lexsort((known, accuracy))
    groups = _groups(order)
    rows = max(len(group) for _, group in groups)
    has_distribution = len(known) > 3 * _ROWS
    columns = len(groups) + has_distribution
    heading = 24 if any(title for title, _ in groups) else 0
    height = _TOP + heading + _LINE * rows + 8
    canvas = Canvas(max(600, columns * (_COLUMN + _GAP) - _GAP), height, dark=dark)
    canvas.text(0, 2, "Accuracy of each class", size=TITLE, bold=True)
    missing = len(total) - len(known)
    note = f"mean over {len(known)} classes {accuracy.mean():.1%}, from {accuracy.min():.1%} to {accuracy.max():.1%}"
    note += f"; {missing} without samples" if missing else ""
    canvas.text(0, 26, note, colour=canvas.theme.soft, width=canvas.width)
    for column, (title, group) in enumerate(groups):
        left = column * (_COLUMN + _GAP)
        canvas.text(left, _TOP - 4, title, bold=True)
        for row, place in enumerate(group):
            number = int(known[place])
            label = class_name(names, number)
            _draw_bar(canvas, left, _TOP + heading + row * _LINE, label, float(accuracy[place]), int(total[number]))
    if has_distribution:
        _draw_distribution(canvas, accuracy, len(groups) * (_COLUMN + _GAP), height)
    return canvas.figure


def _groups(order: npt.NDArray[np.int64]) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Return the columns of bars with their titles."""
    if len(order) <= 3 * _ROWS:
        return [("", order[begin : begin + _ROWS]) for begin in range(0, len(order), _ROWS)]
    return [(f"The {_ROWS} lowest", order[:_ROWS]), (f"The {_ROWS} highest", order[-_ROWS:])]


def _draw_bar(canvas: Canvas, left: float, top: float, name: str, accuracy: float, total: int) -> None:
    longest = _COLUMN - _NAME - _NUMBER - 16
    begin = left + _NAME + 8
    canvas.text(left + _NAME, top + 2, name, width=_NAME, align="right")
    canvas.box(begin, top + 3, longest, _LINE - 6, canvas.theme.grid)
    if accuracy:
        canvas.box(begin, top + 3, longest * accuracy, _LINE - 6, canvas.theme.colours[0])
    words = f"{accuracy:.0%} of {total:,}"
    canvas.text(begin + longest + 8, top + 2, words, width=_NUMBER, colour=canvas.theme.soft)


def _draw_distribution(canvas: Canvas, accuracy: npt.NDArray[np.float64], left: float, height: float) -> None:
    canvas.text(left, _TOP - 4, f"All {len(accuracy)}", bold=True)
    axes = canvas.axes(left + 34, _TOP + 28, _COLUMN - 60, min(300, height - _TOP - 90))
    axes.hist(accuracy, bins=_BINS, range=(0, 1), color=canvas.theme.colours[0], rwidth=0.9)
    axes.axvline(float(accuracy.mean()), color=canvas.theme.ink, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xlabel("accuracy (dashed: the mean)", fontsize=NORMAL, color=canvas.theme.ink)
    axes.set_ylabel("classes", fontsize=NORMAL, color=canvas.theme.ink)
