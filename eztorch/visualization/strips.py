"""Samples in rows of tiles: nearest neighbours, failures, and what a network looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch.nn import functional

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import TITLE, Canvas

Frames = npt.NDArray[np.uint8]

_GAP, _TOP, _LINE, _BORDER = 14, 56, 18, 4  # pixels
_COLUMNS = 8  # of failures
_QUERY_GAP = 22
_NARROWEST = 112  # pixels of a tile and what is written under it


class Tile(NamedTuple):
    """A sample as it is shown.

    Attributes:
        frames: Side by side, shape (T, H, W, 3); see `eztorch.visualization.thumbnails.sample_thumbnail`.
        name: Of its class.
    """

    frames: Frames
    name: str


class Failure(NamedTuple):
    """A sample that was classified wrongly.

    Attributes:
        frames: Side by side, shape (T, H, W, 3).
        truth: Name of its class.
        prediction: Name of the class that it was taken for.
        confidence: Probability that was given to it.
    """

    frames: Frames
    truth: str
    prediction: str
    confidence: float


class _Cell(NamedTuple):
    frames: Frames
    lines: Sequence[str]
    is_good: bool | None = None  # None: no border

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of its frames side by side."""
        length, height, width, _ = self.frames.shape
        return length * width + 2 * (length - 1), height


def confident_failures(labels: npt.ArrayLike, scores: npt.ArrayLike, *, number: int = 24) -> npt.NDArray[np.int64]:
    """Return the samples that were classified wrongly with the highest confidence, the most confident first.

    Args:
        labels: Classes, -1 for none, shape (V,).
        scores: Probabilities, shape (V, K).
        number: How many at most.

    Returns:
        Their rows, shape (n,).

    >>> confident_failures([0, 1, 1, -1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.9, 0.1]]).tolist()
    [1, 2]
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    wrong = np.flatnonzero((labels >= 0) & (scores.argmax(axis=1) != labels))
    order = np.argsort(-scores[wrong].max(axis=1), kind="stable")
    return wrong[order][:number]


def failures_figure(failures: Sequence[Failure], *, dark: bool = False) -> Figure:
    """Draw samples that were classified wrongly, each with its class, what it was taken for, and how confidently.

    Args:
        failures: The samples, in the order in which they are shown.
        dark: For a dark page.
    """
    cells = [
        _Cell(one.frames, (one.truth, f"\N{RIGHTWARDS ARROW} {one.prediction}", f"at {one.confidence:.1%}"))
        for one in failures
    ]
    rows = [cells[begin : begin + _COLUMNS] for begin in range(0, len(cells), _COLUMNS)]
    note = "under each its class, what it was taken for, and the probability that was given to it"
    return _grid(rows, "Most confident failures", note if rows else "none", dark=dark)


def neighbours_figure(
    queries: Sequence[Tile],
    neighbours: Sequence[Sequence[Tile]],
    similarities: npt.ArrayLike,
    *,
    dark: bool = False,
) -> Figure:
    """Draw a row for each query: itself, then its nearest neighbours, with a green border where the class is the same.

    Args:
        queries: Q samples.
        neighbours: Their k neighbours each, the nearest first.
        similarities: To the query, shape (Q, k).
        dark: For a dark page.

    Raises:
        ConfigError: There are not as many rows of neighbours and similarities as there are queries.
    """
    similarities = np.asarray(similarities, dtype=np.float64)
    if not len(queries) == len(neighbours) == len(similarities):
        raise ConfigError(
            f"Each query needs a row of neighbours and of similarities; got {len(queries)} queries, "
            f"{len(neighbours)} rows of neighbours and {len(similarities)} of similarities."
        )
    rows, right, total = [], 0, 0
    for query, found, values in zip(queries, neighbours, similarities, strict=True):
        same = [one.name == query.name for one in found]
        right, total = right + sum(same), total + len(same)
        cells = [
            _Cell(one.frames, (one.name, f"similarity {value:.2f}"), is_same)
            for one, value, is_same in zip(found, values, same, strict=True)
        ]
        rows.append([_Cell(query.frames, (query.name, "query")), *cells])
    note = f"{right} of {total} are of the class of their query (green)"
    return _grid(rows, "Nearest neighbours", note, dark=dark, first_apart=True)


def activation_figure(
    frames: Frames,
    maps: npt.ArrayLike,
    *,
    title: str = "What the network looked at",
    note: str = "above the frames, below them with the class activation map",
    num_frames: int = 8,
    dark: bool = False,
) -> Figure:
    """Draw frames of a clip, and below them the same frames under their class activation maps.

    Args:
        frames: Shape (T, H, W, 3).
        maps: From 0 to 1, of the same frames, shape (T, h, w); see `eztorch.evaluation.class_activation_maps`.
        title: Above the picture.
        note: Below the title.
        num_frames: Frames that are shown at most, evenly spread.
        dark: For a dark page.

    Raises:
        ConfigError: There is not a map for every frame.
    """
    maps = np.asarray(maps, dtype=np.float32)
    if len(maps) != len(frames):
        raise ConfigError(f"{len(frames)} frames need as many maps; got {len(maps)}.")
    places = np.linspace(0, len(frames) - 1, min(num_frames, len(frames))).round().astype(int)
    blended = [overlay(frames[place], maps[place]) for place in places]
    rows = [
        [_Cell(frames[place][None], (f"frame {place}",)) for place in places],
        [_Cell(image[None], (f"mean {maps[place].mean():.2f}",)) for image, place in zip(blended, places, strict=True)],
    ]
    return _grid(rows, title, note, dark=dark)


def overlay(frame: Frames, heat: npt.NDArray[np.float32]) -> Frames:
    """Return a frame under a map of heat, which hides the more the hotter it is.

    Args:
        frame: Shape (H, W, 3).
        heat: From 0 to 1, shape (h, w); brought to the size of the frame.

    >>> image = np.full((2, 2, 3), 100, dtype=np.uint8)
    >>> bool((overlay(image, np.zeros((2, 2), dtype=np.float32)) == image).all())
    True
    """
    resized = functional.interpolate(torch.from_numpy(heat)[None, None], frame.shape[:2], mode="bilinear")
    heat = resized[0, 0].clamp(0, 1).numpy()[..., None]
    colours = colormaps["turbo"](heat[..., 0])[..., :3] * 255
    opacity = 0.65 * heat
    blended: Frames = (frame * (1 - opacity) + colours * opacity).round().astype(np.uint8)
    return blended


def _grid(rows: Sequence[Sequence[_Cell]], title: str, note: str, *, dark: bool, first_apart: bool = False) -> Figure:
    """Draw rows of cells in columns, with words under each; the first column may stand apart."""
    cells = [cell for row in rows for cell in row]
    columns = max(map(len, rows), default=0)
    width = max([_NARROWEST, *(cell.size[0] for cell in cells)])
    heights = [max(cell.size[1] for cell in row) for row in rows]
    lines = max((len(cell.lines) for cell in cells), default=0)
    apart = _QUERY_GAP if first_apart else 0
    below = lines * _LINE + _GAP + _BORDER
    total = max(560, columns * (width + _GAP) + apart)
    canvas = Canvas(total, _TOP + sum(heights) + len(rows) * below, dark=dark)
    canvas.text(0, 2, title, size=TITLE, bold=True, width=canvas.width)
    canvas.text(0, 26, note, colour=canvas.theme.soft, width=canvas.width)
    top = _TOP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            _draw_cell(canvas, cell, _BORDER + column * (width + _GAP) + (apart if column else 0), top, width)
        top += height + below
    return canvas.figure


def _draw_cell(canvas: Canvas, cell: _Cell, left: int, top: int, width: int) -> None:
    shown, height = cell.size
    for place, frame in enumerate(cell.frames):
        canvas.image(frame, left + place * (frame.shape[1] + 2), top)
    if cell.is_good is not None:
        colour = canvas.theme.good if cell.is_good else canvas.theme.bad
        canvas.box(left, top, shown, height, colour, line=_BORDER)
    for place, words in enumerate(cell.lines):
        colour = canvas.theme.ink if place < len(cell.lines) - 1 or place == 0 else canvas.theme.soft
        canvas.text(left, top + height + _BORDER + 2 + place * _LINE, words, width=width, colour=colour)
