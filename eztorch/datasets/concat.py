"""Several data sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import Item, split_address
from eztorch.datasets.subsets import renumbered
from eztorch.utils.errors import DataError


class Concat(Dataset[Item]):
    """Data sets one after the other, some of them perhaps several times.

    With S copies in all, copy s of epoch e is drawn as epoch `e * S + s` of its data set: neither two copies nor two
    data sets share what is drawn for their samples. `idx` counts the samples without their repetitions.

    Args:
        datasets: Map-style data sets that take a `SampleAddress`; all have the same classes.
        repeats: How often each of them is there; by default once.

    >>> class Numbers(Dataset):
    ...     labels = np.array([0, 1])
    ...     def __len__(self): return 2
    ...     def __getitem__(self, address): return {"idx": address.index, "label": 0, "epoch": address.epoch}
    >>> both = Concat([Numbers(), Numbers()], repeats=[2, 1])
    >>> [both[SampleAddress(1, i)]["idx"] for i in range(6)], [both[SampleAddress(1, i)]["epoch"] for i in range(6)]
    ([0, 1, 0, 1, 2, 3], [3, 3, 4, 4, 5, 5])
    """

    def __init__(self, datasets: Sequence[Any], repeats: Sequence[int] | None = None) -> None:
        self.datasets = tuple(datasets)
        lengths = [len(dataset) for dataset in self.datasets]
        repeats = [1] * len(lengths) if repeats is None else repeats
        self._copies = np.repeat(np.arange(len(lengths)), repeats)  # which data set each copy is of
        self._ends = np.cumsum([lengths[which] for which in self._copies])
        self._offsets = np.cumsum([0, *lengths[:-1]])

    def __len__(self) -> int:
        """Return the number of samples, repetitions included."""
        return int(self._ends[-1])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every sample, shape (N,), -1 for none."""
        labels = [np.asarray(dataset.labels) for dataset in self.datasets]
        return np.concatenate([labels[which] for which in self._copies])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels, empty where they have none."""
        return next((names for dataset in self.datasets if (names := class_names_of(dataset))), ())

    def name(self, index: int) -> str:
        """Return what messages call a sample."""
        copy, local = self._find(index)
        return str(self.datasets[self._copies[copy]].name(local))

    def __getitem__(self, address: SampleAddress | int) -> Item:
        """Read a sample.

        Args:
            address: Epoch and index of the sample; an index alone means epoch 0.
        """
        epoch, index = split_address(address)
        copy, local = self._find(index)
        which = self._copies[copy]
        item = self.datasets[which][SampleAddress(epoch * len(self._copies) + copy, local)]
        offset = int(self._offsets[which])
        item = renumbered(item, lambda idx: idx + offset)
        return item._replace(epoch=epoch) if isinstance(item, SampleFailure) else item

    def _find(self, index: int) -> tuple[int, int]:
        copy = int(np.searchsorted(self._ends, index, side="right"))
        return copy, index - int(self._ends[copy - 1] if copy else 0)


def class_names_of(dataset: Any) -> tuple[str, ...]:
    """Return the names of the classes of a data set in the order of their labels, empty where they have none."""
    return tuple(getattr(dataset, "classes", ()) or ())


def check_classes_agree(datasets: Sequence[Any], keys: Sequence[str]) -> None:
    """Check that a label means the same in several data sets, as far as they say what it means.

    Args:
        datasets: The data sets.
        keys: What messages call each of them.

    Raises:
        DataError: Classes are named differently, or some have one label a sample and some several.
    """
    named = [(key, names) for key, dataset in zip(keys, datasets, strict=True) if (names := class_names_of(dataset))]
    for key, names in named[1:]:
        first_key, first = named[0]
        if names != first:
            different = sorted(set(names) ^ set(first)) or [a for a, b in zip(first, names, strict=True) if a != b]
            raise DataError(
                f"{first_key} has {len(first)} classes and {key} {len(names)}, and they are not the same in the same "
                f"order: {', '.join(map(repr, different[:3]))} differ(s). A label has to mean one class; name the "
                "classes with datamodule.classes, or choose the same ones with class_list."
            )
    kinds = {_has_one_label(dataset): key for key, dataset in reversed(list(zip(keys, datasets, strict=True)))}
    if len(kinds) > 1:
        raise DataError(f"{kinds[True]} has one label a sample and {kinds[False]} several; they do not go together.")


def _has_one_label(dataset: Any) -> bool:
    try:
        hasattr(dataset, "labels")  # of several labels a sample there is no such array, and an error says so
    except DataError:
        return False
    return True
