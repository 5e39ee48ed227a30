"""Some of the images of a source, several sources as one, and the parting of a training set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eztorch.datasets.image_sources import ImageSource
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import address_seed


class ImageChoice:
    """Some images of a source.

    Args:
        source: Where they come from.
        indices: Which, shape (N,).
    """

    def __init__(self, source: ImageSource, indices: ArrayLike) -> None:
        self.source = source
        self.indices: NDArray[np.int64] = np.asarray(indices, dtype=np.int64)
        self.labels: NDArray[np.int64] = source.labels[self.indices]
        self.classes = source.classes

    def read(self, index: int) -> Tensor:
        """Read an image; see `ImageSource`."""
        return self.source.read(int(self.indices[index]))

    def name(self, index: int) -> str:
        """Return what messages call an image."""
        return self.source.name(int(self.indices[index]))


class ImageChain:
    """The images of several sources, one after the other.

    Args:
        sources: The sources; the classes are those of the first.
    """

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self.sources = tuple(sources)
        self.labels: NDArray[np.int64] = np.concatenate([source.labels for source in sources])
        self.classes = sources[0].classes
        self._ends = np.cumsum([len(source.labels) for source in sources])

    def read(self, index: int) -> Tensor:
        """Read an image; see `ImageSource`."""
        source, place = self._find(index)
        return source.read(place)

    def name(self, index: int) -> str:
        """Return what messages call an image."""
        source, place = self._find(index)
        return source.name(place)

    def _find(self, index: int) -> tuple[ImageSource, int]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.sources[part], index - int(self._ends[part - 1] if part else 0)


def part_by_class(labels: ArrayLike, ratio: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part the samples of every class in two at random.

    Args:
        labels: Shape (N,).
        ratio: Share of the first part, between 0 and 1; the number of a class is rounded.
        seed: Seed of the draw; it does not follow the seed of the run.

    Returns:
        Indices of the first and of the second part, in increasing order.

    Raises:
        ConfigError: The ratio is out of its range, or leaves one part empty.

    >>> part_by_class([0, 0, 1, 1], 0.5, seed=0)
    (array([1, 2]), array([0, 3]))
    """
    if not 0 < ratio < 1:
        raise ConfigError(f"split_train_ratio={ratio}; expected a share between 0 and 1, both excluded.")
    labels = np.asarray(labels, dtype=np.int64)
    in_first = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        draws = np.random.default_rng(address_seed(seed, int(label) + 1))  # no label is -1, and seeds are not negative
        in_first[draws.permutation(members)[: round(ratio * len(members))]] = True
    if in_first.all() or not in_first.any():
        raise ConfigError(f"split_train_ratio={ratio} of {len(labels)} images leaves one of the two parts empty.")
    return np.flatnonzero(in_first), np.flatnonzero(~in_first)
