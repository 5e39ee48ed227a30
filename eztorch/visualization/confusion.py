"""The confusion matrix of a classifier, readable with ten classes and with hundreds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import DPI, NORMAL, SMALL, TITLE, Canvas, class_name, shorten, text_width

_SIDE, _BARE_SIDE = 1000, 1200  # pixels of a matrix with names and of one without, if its cells stay wide enough
_WIDEST_CELL, _NAMED_CELL, _NARROWEST_CELL = 48, 13, 2  # pixels; names need the second
_MOST_NAMED = 101  # classes whose cells are kept that wide
_NUMBERED_CELL = 30  # pixels that a number needs
_LONGEST_NAME = 170  # pixels
_GAP, _LIST, _LINE = 28, 380, 20
_MANY = 15  # classes: more are put in an order that shows blocks


class Confusion(NamedTuple):
    """How often a class was taken for another.

    Attributes:
        truth: The class.
        prediction: What it was taken for.
        times: How often.
        share: Of the samples of the class.
    """

    truth: int
    prediction: int
    times: int
    share: float


def row_shares(matrix: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return which share of the samples of each class was predicted as which, 0 for a class without samples.

    Args:
        matrix: Counts, a row a true class, a column a predicted one, shape (K, K).

    >>> row_shares(np.array([[3, 1], [0, 0]])).tolist()
    [[0.75, 0.25], [0.0, 0.0]]
    """
    shares: npt.NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def most_confused(matrix: npt.NDArray[np.integer], number: int) -> list[Confusion]:
    """Return the pairs of a class and what it was wrongly taken for, the most frequent first.

    Args:
        matrix: Counts, a row a true class, shape (K, K).
        number: How many at most.

    >>> most_confused(np.array([[3, 1], [0, 4]]), 5)
    [Confusion(truth=0, prediction=1, times=1, share=0.25)]
    """
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    shares = row_shares(matrix)
    order = np.lexsort((-shares.ravel(), -wrong.ravel()))[:number]
    pairs = [(int(place) // len(wrong), int(place) % len(wrong)) for place in order]
    return [Confusion(i, j, int(wrong[i, j]), float(shares[i, j])) for i, j in pairs if wrong[i, j]]


def block_order(matrix: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return an order of the classes in which those that are confused stand together, shape (K,).

    Classes are joined by average linkage, the distance of two being 1 less the mean share of their samples that were
    taken for the other; of the orders that the tree allows it is the one with the nearest neighbours.

    Args:
        matrix: Counts, a row a true class, shape (K, K).

    >>> int(block_order(np.array([[5, 0, 4], [0, 9, 0], [4, 0, 5]]))[1]) in (0, 2)  # 1 is confused with none
    True
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return np.arange(len(matrix))
    shares = row_shares(matrix)
    distance = 1 - (shares + shares.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    order: npt.NDArray[np.int64] = leaves_list(tree).astype(np.int64)
    return order


def confusion_figure(
    matrix: npt.NDArray[np.integer], names: Sequence[str] | None = None, *, pairs: int = 15, dark: bool = False
) -> Figure:
    """Draw a confusion matrix: what is right in one colour, what is confused in another, and the worst pairs beside it.

    With more than 15 classes rows and columns are ordered by `block_order`. Names and numbers are drawn where the cells
    have room for them.

    Args:
        matrix: Counts, a row a true class, a column a predicted one, shape (K, K).
        names: Names of the classes.
        pairs: How many of the most confused pairs are listed at most.
        dark: For a dark page.

    Raises:
        ConfigError: The matrix is not one.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ConfigError(f"A confusion matrix has a row and a column for every class; got the shape {matrix.shape}.")
    size, is_ordered = len(matrix), len(matrix) > _MANY
    order = block_order(matrix) if is_ordered else np.arange(size)
    cell = _cell_width(size)
    side, is_named = cell * size, cell >= _NAMED_CELL
    font = min(NORMAL, 0.72 * cell * 72 / DPI)
    labels = [class_name(names, int(number)) for number in order]
    margin = min(_LONGEST_NAME, max(text_width(one, size=font) for one in labels)) + 8 if is_named else 0
    left, top = round(margin) + 26, 58
    height = max(top + side + margin + 30, top + _LINE * (pairs + 2) + 40)
    canvas = Canvas(left + side + _GAP + _LIST, height, dark=dark)
    _write_title(canvas, matrix, is_ordered=is_ordered)
    shares = row_shares(matrix)[np.ix_(order, order)]
    canvas.image(_cells(canvas, shares, cell), left, top)
    canvas.box(left, top, side, side, canvas.theme.grid, line=1)
    canvas.text(0, top + side / 2 - 26, "true", colour=canvas.theme.soft, upward=True)
    canvas.text(left + side / 2, top + side + margin + 6, "predicted", colour=canvas.theme.soft, align="center")
    if is_named:
        for place, label in enumerate(labels):
            middle = (place + 0.5) * cell - font * DPI / 72 * 0.6
            canvas.text(left - 6, top + middle, label, size=font, width=_LONGEST_NAME, align="right")
            canvas.text(left + middle, top + side + 6, label, size=font, width=_LONGEST_NAME, upward=True)
    if cell >= _NUMBERED_CELL:
        _write_numbers(canvas, shares, cell, left, top)
    _list_pairs(canvas, most_confused(matrix, pairs), names, left + side + _GAP, top)
    return canvas.figure


def _cell_width(size: int) -> int:
    if size <= _MOST_NAMED:
        return max(_NAMED_CELL, min(_WIDEST_CELL, _SIDE // size))
    return max(_NARROWEST_CELL, min(_NAMED_CELL - 1, _BARE_SIDE // size))


def _cells(canvas: Canvas, shares: npt.NDArray[np.float64], cell: int) -> npt.NDArray[np.uint8]:
    """Return the pixels of the cells: opaque by a root of the share, so that rare confusions are seen."""
    colours = np.array([to_rgb(canvas.theme.colours[1]), to_rgb(canvas.theme.colours[0])])
    pixels = np.empty((*shares.shape, 4))
    pixels[..., :3] = colours[np.eye(len(shares), dtype=int)]
    pixels[..., 3] = shares ** (1 / 2 if cell >= _NAMED_CELL else 1 / 3)  # small cells need more of it
    whole: npt.NDArray[np.uint8] = (pixels * 255).round().astype(np.uint8).repeat(cell, axis=0).repeat(cell, axis=1)
    return whole


def _write_title(canvas: Canvas, matrix: npt.NDArray[np.integer], *, is_ordered: bool) -> None:
    total = int(matrix.sum())
    share = f"{np.trace(matrix) / total:.1%} of {total:,} samples right, " if total else ""
    order = ", in an order that puts together what is confused" if is_ordered else ""
    canvas.text(0, 2, "Confusion matrix", size=TITLE, bold=True)
    note = f"{share}{len(matrix)} classes{order}; colours by the share of the row"
    canvas.text(0, 26, note, colour=canvas.theme.soft, width=canvas.width)


def _write_numbers(canvas: Canvas, shares: npt.NDArray[np.float64], cell: int, left: int, top: int) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            is_filled = share > 0.3
            colour = canvas.theme.paper if is_filled else canvas.theme.ink
            places = (left + (column + 0.5) * cell, top + (row + 0.5) * cell - SMALL * DPI / 72 * 0.6)
            canvas.text(*places, f"{100 * share:.0f}", size=SMALL, colour=colour, align="center")


def _list_pairs(canvas: Canvas, found: list[Confusion], names: Sequence[str] | None, left: float, top: float) -> None:
    canvas.text(left, top, "Most confused: true \N{RIGHTWARDS ARROW} predicted", bold=True)
    if not found:
        canvas.text(left, top + _LINE * 1.4, "none", colour=canvas.theme.soft)
    for place, one in enumerate(found):
        line = top + _LINE * (place + 1.4)
        count = f"{one.times:,} of {one.times / one.share:,.0f}, {one.share:.0%}"
        room = _LIST - text_width(count) - 16
        canvas.text(left, line, _pair(class_name(names, one.truth), class_name(names, one.prediction), room))
        canvas.text(left + _LIST - 4, line, count, colour=canvas.theme.soft, align="right")


def _pair(truth: str, prediction: str, width: float) -> str:
    """Name both classes in some pixels: a name that is shorter than half of them leaves the rest to the other."""
    arrow = " \N{RIGHTWARDS ARROW} "
    room = width - text_width(arrow)
    needed = text_width(prediction)
    truth = shorten(truth, max(room / 2, room - needed))
    return truth + arrow + shorten(prediction, room - text_width(truth))
