"""Pictures that are laid out to the pixel: images are not resampled, and text is as long as its place."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from eztorch.visualization.theme import theme

DPI = 128  # a power of two: a size in pixels survives the way through inches
SMALL, NORMAL, TITLE = 7.0, 8.0, 10.0  # sizes of text, in points
_MARGIN = 6  # pixels around all, so that no letter touches the edge
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Canvas:
    """A figure on which places are pixels from the left and from the top, with a margin around them.

    Attributes:
        figure: The figure.
        theme: Its colours.
        width: Pixels inside of the margin.
        height: Pixels inside of the margin.

    Args:
        width: See above.
        height: See above.
        dark: For a dark page.
    """

    def __init__(self, width: float, height: float, *, dark: bool = False) -> None:
        self.width, self.height = round(width), round(height)
        self._pixels = (self.width + 2 * _MARGIN, self.height + 2 * _MARGIN)
        self.figure = Figure(figsize=(self._pixels[0] / DPI, self._pixels[1] / DPI), dpi=DPI)
        self.theme = theme(dark=dark)

    def text(
        self,
        left: float,
        top: float,
        words: str,
        *,
        size: float = NORMAL,
        colour: str | None = None,
        width: float | None = None,
        align: Literal["left", "center", "right"] = "left",
        bold: bool = False,
        upward: bool = False,
    ) -> Text:
        """Write a line.

        Args:
            left: Where it begins, has its middle or ends, as `align` says.
            top: Its upper edge.
            words: What to write.
            size: In points.
            colour: By default that of ink.
            width: Pixels that it may take; the end of longer words is left out.
            align: Which part of it `left` is about.
            bold: In bold letters.
            upward: Turned, so that it is read from below, and ends at `top`.
        """
        words = words if width is None else shorten(words, width, size=size, bold=bold)
        return self.figure.text(
            *self._place(left, top),
            words,
            fontproperties=_font(size, bold),
            color=colour or self.theme.ink,
            ha=align,
            va="top",
            rotation=90 if upward else 0,
            parse_math=False,
        )

    def image(self, pixels: npt.NDArray[np.uint8], left: int, top: int) -> None:
        """Show an image pixel by pixel.

        Args:
            pixels: Shape (height, width, 3), or 4 with opacity.
            left: Where its left edge is.
            top: Where its upper edge is.
        """
        self.figure.figimage(
            pixels, xo=left + _MARGIN, yo=self.height + _MARGIN - top - pixels.shape[0], origin="upper"
        )

    def box(
        self, left: float, top: float, width: float, height: float, colour: str, *, line: float | None = None
    ) -> None:
        """Draw a rectangle.

        Args:
            left: Where its left edge is.
            top: Where its upper edge is.
            width: Pixels.
            height: Pixels.
            colour: Of the rectangle, or of its border.
            line: Pixels of a border that stands around it; None fills it.
        """
        grow = 0.0 if line is None else line / 2
        corner = self._place(left - grow, top + height + grow)
        sides = ((width + 2 * grow) / self._pixels[0], (height + 2 * grow) / self._pixels[1])
        style: dict[str, Any] = {"facecolor": colour, "linewidth": 0}
        if line is not None:
            style = {"facecolor": "none", "edgecolor": colour, "linewidth": line * 72 / DPI, "joinstyle": "miter"}
        self.figure.add_artist(Rectangle(corner, *sides, transform=self.figure.transFigure, **style))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes at a place, in the style of the curves of a report."""
        sides = (width / self._pixels[0], height / self._pixels[1])
        axes: Axes = self.figure.add_axes((*self._place(left, top + height), *sides))
        axes.patch.set_alpha(0)
        axes.tick_params(colors=self.theme.ink, labelsize=NORMAL, length=0, pad=6)
        axes.grid(color=self.theme.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(self.theme.grid)
        return axes

    def _place(self, left: float, top: float) -> tuple[float, float]:
        """Return a place as shares of the figure from the left and from below."""
        return (left + _MARGIN) / self._pixels[0], 1 - (top + _MARGIN) / self._pixels[1]


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG on a transparent ground, the same bytes for the same figure."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", transparent=True)
    return picture.getvalue()


def text_width(words: str, *, size: float = NORMAL, bold: bool = False) -> float:
    """Return how many pixels a line takes.

    >>> text_width("wide", bold=True) > text_width("wide") > text_width("i") > 0
    True
    """
    width, _, _ = _renderer().get_text_width_height_descent(words, _font(size, bold), ismath=False)
    return float(width)


def shorten(words: str, width: float, *, size: float = NORMAL, bold: bool = False) -> str:
    """Return words that fit into some pixels, the end of longer ones left out.

    >>> shorten("playing the violin", text_width("playing…"))
    'playing…'
    """
    words = " ".join(words.split())
    if text_width(words, size=size, bold=bold) <= width:
        return words
    short, long = 0, len(words)  # so many letters fit, so many do not
    while long - short > 1:
        middle = (short + long) // 2
        fits = text_width(words[:middle].rstrip() + _ELLIPSIS, size=size, bold=bold) <= width
        short, long = (middle, long) if fits else (short, middle)
    return words[:short].rstrip() + _ELLIPSIS


def wrap(words: str, width: float, *, size: float = NORMAL, most: int = 3) -> list[str]:
    """Return words in lines that fit into some pixels; what does not fit into the last is left out.

    >>> wrap("no such file: a.mp4", text_width("such file:"))
    ['no such', 'file:', 'a.mp4']
    """
    lines: list[str] = []
    for word in words.split():
        is_short = bool(lines) and text_width(f"{lines[-1]} {word}", size=size) <= width
        if is_short or len(lines) == most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [shorten(line, width, size=size) for line in lines]


def class_name(names: Sequence[str] | None, number: int) -> str:
    """Name a class.

    >>> class_name(["rising", "falling"], 1), class_name(None, 1)
    ('falling', 'class 1')
    """
    return str(names[number]) if names is not None and number < len(names) else f"class {number}"


@cache
def _font(size: float, bold: bool) -> FontProperties:
    return FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)
