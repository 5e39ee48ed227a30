"""Some of the samples of a data set: of some classes, a share of every class, those of a list, or all but those.

Nothing is read but labels and names. N samples, K classes.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import Item, Sample, split_address
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import did_you_mean
from eztorch.utils.randomness import address_seed

_log = logging.getLogger("eztorch")
# Streams of random numbers of a seed: one says which classes are taken, the other which samples of a class.
_CLASSES, _SAMPLES = 0, 1


@dataclass(frozen=True, kw_only=True)
class SubsetRule:
    """Which samples are taken. Classes are chosen first, then what is to be left out, then samples of the rest.

    Attributes:
        class_ratio: Share of the classes, above 0 and at most 1: `max(1, round(ratio * K))` of them, at random.
        class_list: Names or numbers of the classes, or a file of them, one a line.
        sample_ratio: Share of the samples of every class: `max(1, round(ratio * n))` of the n that a class has, at
            random. Samples without a label count as a class.
        sample_list: Names or indices of the samples, or a file of them, one a line. A name is a path or the end of one
            (`class/name.jpg`, `name.jpg`), with or without the extension of the file.
        exclude_list: Names or indices of samples that are left out, or a file of them, such as the `quarantine.txt` of
            `eztorch data check`. Those that are not there do not matter: one list may be of several splits.
        seed: Seed of both draws; it does not follow the seed of the run. With one seed, a smaller share is part of a
            larger one.

    Raises:
        ConfigError: A ratio is out of its range, or classes or samples are chosen in two ways.
    """

    class_ratio: float | None = None
    class_list: Sequence[str | int] | str | None = None
    sample_ratio: float | None = None
    sample_list: Sequence[str | int] | str | None = None
    exclude_list: Sequence[str | int] | str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in ("class", "sample"):
            ratio, listed = getattr(self, f"{kind}_ratio"), getattr(self, f"{kind}_list")
            if ratio is not None and listed is not None:
                raise ConfigError(f"{kind}_ratio={ratio} and {kind}_list: only one of the two can be given.")
            if ratio is not None and not (isinstance(ratio, int | float) and 0 < ratio <= 1):
                raise ConfigError(f"{kind}_ratio={ratio!r}; expected a share above 0 and at most 1.")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"seed={self.seed!r}; expected a whole number of at least 0.")

    @property
    def takes_all(self) -> bool:
        """Whether nothing is left out."""
        return all(getattr(self, key) is None for key in _CHOOSING)


SUBSET_KEYS = tuple(field.name for field in dataclasses.fields(SubsetRule))
_CHOOSING = tuple(key for key in SUBSET_KEYS if key != "seed")


def choose_classes(rule: SubsetRule, names: Sequence[str], num_classes: int) -> NDArray[np.int64] | None:
    """Return the classes that a rule takes, shape (k,), in increasing order; None where it does not choose.

    Args:
        rule: The rule.
        names: Names of the classes in the order of their labels, empty where they have none.
        num_classes: K.

    Raises:
        ConfigError: A class is not known, or is there twice.

    >>> choose_classes(SubsetRule(class_list=["dog", "cat"]), ("bird", "cat", "dog"), 3)
    array([1, 2])
    """
    if rule.class_ratio is not None:
        order = np.random.default_rng(address_seed(rule.seed, _CLASSES)).permutation(num_classes)
        return np.sort(order[: max(1, round(rule.class_ratio * num_classes))])
    if rule.class_list is None:
        return None
    numbers = {name: label for label, name in enumerate(names)}
    found = []
    for entry in _entries(rule.class_list, "class_list"):
        label = numbers.get(entry, int(entry) if entry.isdecimal() else -1)
        if not 0 <= label < num_classes:
            hint = did_you_mean(entry, names, f"expected a name or 0 to {num_classes - 1}.")
            raise ConfigError(f"class_list: {entry!r} is not a class;{hint}")
        found.append(label)
    if len(set(found)) < len(found):
        raise ConfigError(f"class_list: {len(found) - len(set(found))} of its {len(found)} classes are there twice.")
    return np.array(sorted(found), dtype=np.int64)


def choose_samples(dataset: Any, rule: SubsetRule, classes: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return the indices of the samples that a rule takes, in increasing order.

    Args:
        dataset: It has `labels`, shape (N,), and `name(index)` where samples are listed by their names.
        rule: The rule.
        classes: What `choose_classes` returned.

    Raises:
        ConfigError: A listed sample is not there, or nothing is left.
        DataError: There are no labels to choose by.
    """
    chosen = np.arange(len(dataset))
    if rule.sample_list is not None:
        chosen = _included(dataset, _entries(rule.sample_list, "sample_list"))
    if rule.exclude_list is not None:
        excluded, _ = _listed(dataset, _entries(rule.exclude_list, "exclude_list"), "exclude_list")
        _log.info(f"exclude_list leaves out {len(excluded)} of {len(dataset)} samples.")
        chosen = np.setdiff1d(chosen, excluded)
    if classes is not None:
        chosen = chosen[np.isin(labels_of(dataset)[chosen], classes)]
    if rule.sample_ratio is not None:
        chosen = _share_of_classes(chosen, labels_of(dataset)[chosen], rule.sample_ratio, rule.seed)
    if not len(chosen):
        asked = [f"{name}={getattr(rule, name)}" for name in _CHOOSING if getattr(rule, name) is not None]
        raise ConfigError(f"{' and '.join(asked)} leaves none of the {len(dataset)} samples.")
    return chosen


def _share_of_classes(
    indices: NDArray[np.int64], labels: NDArray[np.int64], ratio: float, seed: int
) -> NDArray[np.int64]:
    kept = []
    for label in np.unique(labels):
        members = indices[labels == label]
        draws = np.random.default_rng(address_seed(seed, _SAMPLES, int(label) + 1))  # -1: none; seeds are not negative
        kept.append(draws.permutation(members)[: max(1, round(ratio * len(members)))])
    return np.sort(np.concatenate(kept)) if kept else indices


def labels_of(dataset: Any) -> NDArray[np.int64]:
    """Return the class of every sample of a data set, -1 for none, shape (N,).

    Raises:
        DataError: It does not tell them.
    """
    if not hasattr(dataset, "labels"):
        raise DataError(f"{type(dataset).__name__} has no `labels`, so nothing can be chosen or weighted by class.")
    return np.asarray(dataset.labels)


def _entries(listed: Sequence[str | int] | str, key: str) -> list[str]:
    """Return what a list, or a file of one, has."""
    if isinstance(listed, str | Path):
        if not Path(listed).is_file():
            raise ConfigError(f"{key}={listed}: there is no such file; expected a list, or a file of one entry a line.")
        # As `eztorch data check` writes it: names need not be UTF-8, and may have characters that end lines in Unicode.
        listed = Path(listed).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return [entry for entry in (str(entry).strip() for entry in listed) if entry]


def _included(dataset: Any, entries: Sequence[str]) -> NDArray[np.int64]:
    """Return the indices of listed samples, all of which have to be there."""
    chosen, unknown = _listed(dataset, entries, "sample_list")
    if unknown:
        form = "indices (these samples have no names)"
        if hasattr(dataset, "name") and len(dataset):
            form = f"paths such as {dataset.name(0)}"
        raise ConfigError(
            f"sample_list: {len(unknown)} of its {len(entries)} samples are not there, the first: {unknown[0]!r}. "
            f"Expected {form}."
        )
    return chosen


def _listed(dataset: Any, entries: Sequence[str], key: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the indices of listed samples, in increasing order, and the entries that are none of the samples."""
    has_names = hasattr(dataset, "name")
    names = [str(dataset.name(index)) for index in range(len(dataset))] if has_names else []
    if any(map(os.path.isabs, entries)):
        names = [os.path.abspath(name) for name in names]
    places = _places(names, {entry.count("/") + 1 for entry in entries})
    chosen: set[int] = set()
    unknown = []
    for entry in entries:
        found = places.get(tuple(entry.split("/")), [])
        if len({names[place] for place in found}) > 1:
            first, second = sorted({names[place] for place in found})[:2]
            raise ConfigError(f"{key}: {entry!r} may be {first} or {second}; write more of its path.")
        if not found and entry.isdecimal() and int(entry) < len(dataset):
            found = [int(entry)]
        chosen.update(found)
        unknown += [] if found else [entry]
    return np.array(sorted(chosen), dtype=np.int64), unknown


def _places(names: Sequence[str], depths: Iterable[int]) -> dict[tuple[str, ...], list[int]]:
    """Return where the ends of the paths of some depths stand, with and without the extension of the file."""
    places: dict[tuple[str, ...], list[int]] = {}
    depths = tuple(depths)
    for index, name in enumerate(names):
        parts = name.split("/")
        for depth in depths:
            end = parts[-depth:]
            for form in {tuple(end), (*end[:-1], os.path.splitext(end[-1])[0])}:
                places.setdefault(form, []).append(index)
    return places


class Subset(Dataset[Item]):
    """Some of the samples of a data set, with the indices and, of chosen classes, the labels of the subset.

    A sample is drawn as in the whole data set, so a subset changes nothing of the samples that it has. Where another
    sample stands in for one that cannot be read, it comes from the subset: of a data set with `stand_ins` they are set.

    Args:
        dataset: A map-style data set that takes a `SampleAddress`.
        indices: Which samples, in increasing order, shape (n,).
        classes: Which classes became 0 to k - 1, in increasing order; None leaves labels as they are.
    """

    def __init__(self, dataset: Any, indices: NDArray[np.int64], *, classes: NDArray[np.int64] | None = None) -> None:
        self.dataset = dataset
        self.indices = indices
        self.chosen_classes = classes
        if hasattr(dataset, "stand_ins"):
            dataset.stand_ins = indices

    def __len__(self) -> int:
        """Return the number of samples of the subset."""
        return len(self.indices)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every sample, shape (n,), -1 for none."""
        labels = labels_of(self.dataset)[self.indices]
        return labels if self.chosen_classes is None else np.searchsorted(self.chosen_classes, labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels, empty where they have none."""
        names = tuple(getattr(self.dataset, "classes", ()))
        return names if self.chosen_classes is None or not names else tuple(names[i] for i in self.chosen_classes)

    def name(self, index: int) -> str:
        """Return what messages call a sample."""
        return str(self.dataset.name(int(self.indices[index])))

    def __getitem__(self, address: SampleAddress | int) -> Item:
        """Read a sample.

        Args:
            address: Epoch and index of the sample; an index alone means epoch 0.
        """
        epoch, index = split_address(address)
        item: Item = self.dataset[SampleAddress(epoch, int(self.indices[index]))]
        return renumbered(item, self._place, self._label)

    def _place(self, index: int) -> int:
        return int(np.searchsorted(self.indices, index))

    def _label(self, label: Any) -> Any:
        return label if self.chosen_classes is None else int(np.searchsorted(self.chosen_classes, label))


def renumbered(item: Item, place: Callable[[int], int], label: Callable[[Any], Any] = lambda label: label) -> Item:
    """Return an item of a data set that is part of another, as one of that.

    Args:
        item: A sample, a list of samples or a `SampleFailure`.
        place: From an index of the part to that of the whole.
        label: From a label of the part to that of the whole.
    """
    if isinstance(item, SampleFailure):
        return _failure(item, place, label)
    if isinstance(item, list):
        return [_sample(sample, place, label) for sample in item]
    return _sample(item, place, label)


def _failure(item: SampleFailure, place: Callable[[int], int], label: Callable[[Any], Any]) -> SampleFailure:
    return item._replace(idx=place(item.idx), label=label(item.label))


def _sample(sample: Sample, place: Callable[[int], int], label: Callable[[Any], Any]) -> Sample:
    changed = {**sample, "idx": place(sample["idx"]), "label": label(sample["label"])}
    if "failures" in sample:
        changed["failures"] = [_failure(one, place, label) for one in sample["failures"]]
    return changed
