"""Whether a classifier is right as often as it says: reliability diagrams (arXiv 1706.04599)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import NORMAL, TITLE, Canvas

_SIDE, _SHARES = 380, 90  # pixels


class Calibration(NamedTuple):
    """Confidence and accuracy of the samples of each bin, both NaN where there are none.

    Attributes:
        edges: Confidences between which the bins are, shape (M + 1,).
        counts: Number of samples, shape (M,).
        confidence: Mean confidence, shape (M,).
        accuracy: Share of the samples that are right, shape (M,).
        error: The expected calibration error.
    """

    edges: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    error: float


def calibrate(confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = 15) -> Calibration:
    """Compare confidence and accuracy in bins of equal width.

    The expected calibration error is sum_m |B_m| / n * |acc(B_m) - conf(B_m)|, bin m being the confidences in
    ((m - 1) / M, m / M] (arXiv 1706.04599, equation 3).

    Args:
        confidence: Probability of the predicted class, shape (V,).
        correct: Whether the prediction is right, shape (V,).
        bins: Number of bins, M.

    Raises:
        ConfigError: There is no sample, or a confidence is no probability.

    >>> round(calibrate([0.9, 0.8, 0.6], [True, True, False], bins=2).error, 4)
    0.1
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not len(confidence) or not (confidence >= 0).all() or not (confidence <= 1 + 1e-6).all():
        raise ConfigError("Calibration needs a probability from 0 to 1 of every sample, of one sample at least.")
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(which, confidence, minlength=bins) / counts
        right = np.bincount(which, correct, minlength=bins) / counts
    error = float(np.nansum(counts * np.abs(right - means)) / len(confidence))
    return Calibration(edges, counts, means, right, error)


def reliability_figure(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, bins: int = 15, dark: bool = False
) -> Figure:
    """Draw the accuracy of each bin of confidence, and below it how many samples have such a confidence.

    Args:
        confidence: Probability of the predicted class, shape (V,).
        correct: Whether the prediction is right, shape (V,).
        bins: Number of bins.
        dark: For a dark page.

    Raises:
        ConfigError: There is no sample, or a confidence is no probability.
    """
    found = calibrate(confidence, correct, bins=bins)
    canvas = Canvas(_SIDE + 104, _SIDE + _SHARES + 176, dark=dark)
    ink = canvas.theme.ink
    canvas.text(0, 2, f"Reliability: ECE {found.error:.1%}", size=TITLE, bold=True)
    mean, right = float(np.mean(np.asarray(confidence))), float(np.mean(np.asarray(correct)))
    note = f"mean confidence {mean:.1%}, accuracy {right:.1%}, {found.counts.sum():,} samples, {bins} bins"
    canvas.text(0, 26, note, colour=canvas.theme.soft, width=canvas.width)
    width, left = 1 / bins, found.edges[:-1]
    axes = canvas.axes(76, 58, _SIDE, _SIDE)
    has_any = found.counts > 0
    options: dict[str, Any] = {"align": "edge", "width": 0.92 * width}
    axes.bar(left[has_any], found.accuracy[has_any], color=canvas.theme.colours[0], **options)
    axes.plot([0, 1], [0, 1], color=ink, linewidth=1, linestyle=(0, (4, 3)))
    points = (found.confidence[has_any], found.accuracy[has_any])
    axes.plot(*points, "o", color=canvas.theme.colours[1], markersize=4)
    below = canvas.axes(76, 58 + _SIDE + 38, _SIDE, _SHARES)
    below.bar(left, found.counts / found.counts.sum(), color=canvas.theme.soft, **options)
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
