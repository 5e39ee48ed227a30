"""Features as points of a plane.

Papers: https://jmlr.org/papers/v9/vandermaaten08a.html (t-SNE), https://arxiv.org/abs/1802.03426 (UMAP).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.visualization.canvas import TITLE, Canvas, class_name

_SIDE, _LEGEND, _LINE = 620, 190, 22  # pixels
_MOST_NAMED = 20  # classes in a legend
_FEWEST = 5  # samples
_NEIGHBOURS = 15


class Embedding(NamedTuple):
    """Points of samples.

    Attributes:
        points: Shape (n, 2).
        rows: Which of the samples they are, increasing, shape (n,).
        total: Number of samples that they were chosen from.
        caption: How they were made.
    """

    points: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    total: int
    caption: str


def embed(features: npt.ArrayLike, *, method: str = "tsne", most: int = 2000, seed: int = 0) -> Embedding:
    """Place features in a plane so that neighbours stay neighbours. Features are normalised: their angles count.

    Args:
        features: Shape (N, D).
        method: `tsne`, or `umap`, which needs the extra of that name.
        most: Of more samples so many are drawn at random.
        seed: Of what is drawn.

    Raises:
        ConfigError: The method is not known or not installed, or there are fewer than 5 samples.
    """
    features = np.asarray(features, dtype=np.float32)
    run = choose(_METHODS, method, "method")
    total = len(features)
    if min(total, most) < _FEWEST:
        raise ConfigError(f"A picture of features needs {_FEWEST} samples at least; got {min(total, most)}.")
    rows = np.arange(total)
    if total > most:
        rows = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    chosen = features[rows]
    chosen = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-12)
    points, made = run(chosen, seed)
    count = f"{len(rows):,} of {total:,} samples, drawn with seed {seed}" if total > most else f"{total:,} samples"
    return Embedding(np.asarray(points, dtype=np.float64), rows, total, f"{made}, {count}")


def _tsne(features: npt.NDArray[np.float32], seed: int) -> tuple[Any, str]:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    start = "pca" if features.shape[1] > 1 else "random"
    points = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(features)
    return points, f"t-SNE, perplexity {perplexity:.3g}"


def _umap(features: npt.NDArray[np.float32], seed: int) -> tuple[Any, str]:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError(
            "method='umap' needs the package umap-learn: pip install 'eztorch[umap]'; or take method='tsne'."
        ) from error

    neighbours = min(_NEIGHBOURS, len(features) - 1)
    # Seeded, it runs on one thread whatever is asked; said aloud, it does not warn of that.
    points = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(features)
    return points, f"UMAP, {neighbours} neighbours"


_METHODS: dict[str, Callable[[npt.NDArray[np.float32], int], tuple[Any, str]]] = {"tsne": _tsne, "umap": _umap}


def embedding_figure(
    embedding: Embedding,
    labels: npt.ArrayLike,
    names: Sequence[str] | None = None,
    *,
    title: str = "Features",
    dark: bool = False,
) -> Figure:
    """Draw the points of samples, coloured by their class.

    Up to 20 classes are named beside them. The colours of more classes repeat, and tell neighbours apart alone.

    Args:
        embedding: The points.
        labels: Classes of all samples that they were chosen from, -1 for none, shape (N,).
        names: Names of the classes.
        title: Above the picture.
        dark: For a dark page.

    Raises:
        ConfigError: There is not a label for every sample.
    """
    labels = np.asarray(labels)
    if len(labels) != embedding.total:
        raise ConfigError(f"A picture of {embedding.total} features needs as many labels; got {len(labels)}.")
    shown = labels[embedding.rows]
    classes = np.unique(shown[shown >= 0])
    is_named = 0 < len(classes) <= _MOST_NAMED
    canvas = Canvas(_SIDE + (24 + _LEGEND if is_named else 0), _SIDE + 56, dark=dark)
    title += "" if is_named or not len(classes) else f", {len(classes)} classes, colours repeat"
    canvas.text(0, 2, title, size=TITLE, bold=True, width=canvas.width)
    canvas.text(0, 26, embedding.caption, colour=canvas.theme.soft, width=canvas.width)
    axes = canvas.axes(1, 54, _SIDE, _SIDE)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
    colours = _class_colours(canvas, classes)
    size = float(np.clip(6000 / len(shown), 4, 40))
    points = [colours.get(int(label), canvas.theme.soft) for label in shown]
    axes.scatter(embedding.points[:, 0], embedding.points[:, 1], c=points, s=size, alpha=0.75, linewidths=0)
    if is_named:
        for place, number in enumerate(classes):
            line = 58 + place * _LINE
            canvas.box(_SIDE + 24, line + 3, 10, 10, colours[int(number)])
            canvas.text(_SIDE + 42, line, class_name(names, int(number)), width=_LEGEND - 20)
    return canvas.figure


def _class_colours(canvas: Canvas, classes: npt.NDArray[np.integer]) -> dict[int, str]:
    """Return a colour for every class: the theme's for a few, else those of a palette, over and over."""
    palette = list(canvas.theme.colours)
    if len(classes) > len(palette):
        palette = [to_hex(colormaps["tab20"](i)) for i in [*range(0, 20, 2), *range(1, 20, 2)]]
    return {int(number): palette[place % len(palette)] for place, number in enumerate(classes)}
