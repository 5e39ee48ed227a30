from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def labels_outside(figure: Figure) -> Iterator[Text]:
    """Labels of ticks beyond the ends of an axis, which are not drawn."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        slack = (high - low) * 1e-6
        for tick in axis.get_major_ticks():
            if not low - slack <= tick.get_loc() <= high + slack:
                yield from (tick.label1, tick.label2)


@pytest.fixture(scope="session")
def written() -> Callable[[Figure], list[str]]:
    """Check that the words of a figure are inside of it and do not touch each other, and return them from the top."""

    def check(figure: Figure) -> list[str]:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        hidden = set(map(id, labels_outside(figure)))
        texts = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip()]
        texts = [one for one in texts if id(one) not in hidden]
        boxes = np.array([one.get_window_extent(canvas.get_renderer()).extents for one in texts])
        (left, low), (right, high) = boxes[:, :2].T, boxes[:, 2:].T
        width, height = figure.bbox.size
        outside = (left < 0) | (low < 0) | (right > width) | (high > height)
        assert [texts[i].get_text() for i in np.flatnonzero(outside)] == []
        beside = (right[:, None] <= left + 1) | (left[:, None] + 1 >= right)
        above = (high[:, None] <= low + 1) | (low[:, None] + 1 >= high)
        pairs = np.argwhere(np.triu(~(beside | above), k=1))
        assert [(texts[i].get_text(), texts[j].get_text()) for i, j in pairs] == []
        return [texts[i].get_text() for i in np.lexsort((left, -high))]

    return check
