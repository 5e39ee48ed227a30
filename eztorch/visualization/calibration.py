"""Whether a classifier is right as often as it says: reliability diagrams (arXiv 1706.04599)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eztorch.evaluation.metrics import ReliabilityBins, expected_calibration_error
from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import NORMAL, TITLE, Canvas

_SIDE, _SHARES = 380, 90  # pixels


def reliability_figure(bins: ReliabilityBins, *, dark: bool = False) -> Figure:
    """Draw the accuracy of each bin of confidence, and below it how many samples have such a confidence.

    Args:
        bins: The samples by their confidence, see `eztorch.evaluation.metrics.reliability_bins`.
        dark: For a dark page.

    Raises:
        ConfigError: There is no sample.
    """
    error = float(expected_calibration_error(bins))
    edges, counts, confidence, accuracy = (part.cpu().numpy() for part in bins)
    if not counts.sum():
        raise ConfigError("A reliability diagram needs a sample with a label.")
    canvas = Canvas(_SIDE + 104, _SIDE + _SHARES + 176, dark=dark)
    ink = canvas.theme.ink
    canvas.text(0, 2, f"Reliability: ECE {error:.1%}", size=TITLE, bold=True)
    mean, right = (float(np.nansum(part * counts) / counts.sum()) for part in (confidence, accuracy))
    note = f"mean confidence {mean:.1%}, accuracy {right:.1%}, {counts.sum():,} samples, {len(counts)} bins"
    canvas.text(0, 26, note, colour=canvas.theme.soft, width=canvas.width)
    width, left = 1 / len(counts), edges[:-1]
    axes = canvas.axes(76, 58, _SIDE, _SIDE)
    has_any = counts > 0
    options: dict[str, Any] = {"align": "edge", "width": 0.92 * width}
    axes.bar(left[has_any], accuracy[has_any], color=canvas.theme.colours[0], **options)
    axes.plot([0, 1], [0, 1], color=ink, linewidth=1, linestyle=(0, (4, 3)))
    points = (confidence[has_any], accuracy[has_any])
    axes.plot(*points, "o", color=canvas.theme.colours[1], markersize=4)
    below = canvas.axes(76, 58 + _SIDE + 38, _SIDE, _SHARES)
    below.bar(left, counts / counts.sum(), color=canvas.theme.soft, **options)
    for one, title, limit in ((axes, "accuracy", 1.0), (below, "samples", None)):
        one.set_xlim(0, 1)
        one.set_ylim(0, limit)
        one.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        one.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        one.set_ylabel(title, fontsize=NORMAL, color=ink)
    below.set_xlabel("confidence", fontsize=NORMAL, color=ink)
    legend = "dashed: as confident as right; points: mean confidence of a bin"
    canvas.text(0, canvas.height - 20, legend, colour=canvas.theme.soft, width=canvas.width)
    return canvas.figure
