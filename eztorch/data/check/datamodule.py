"""The splits of a datamodule, as `eztorch data check` takes them."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from eztorch.data.check.findings import Finding
from eztorch.data.check.sources import Item, Split, video_item
from eztorch.datamodules.base import BaseDataModule
from eztorch.datamodules.video import VideoBaseDataModule
from eztorch.datasets.annotations import LabeledVideoPaths
from eztorch.datasets.concat import Concat
from eztorch.datasets.image_sources import ImageFiles
from eztorch.datasets.subsets import Subset
from eztorch.utils.errors import ConfigError, DataError


def datamodule_splits(datamodule: BaseDataModule) -> list[Split]:
    """Read the splits of a datamodule, those that are the same data under two names once.

    Args:
        datamodule: A fresh one. Where its own checks would end a run they say here what they have to say, so that the
            rest is examined too.
    """
    if isinstance(datamodule, VideoBaseDataModule):
        datamodule.on_missing, datamodule.max_failure_share = "warn", 1.0
    splits: list[Split] = []
    for name in datamodule.specs:
        split = _read(datamodule, name)
        same = next((one for one in splits if one.items and one.items == split.items), None)
        if same is None:
            splits.append(split)
        else:
            same.name += f" and {name}"
    return splits


def _read(datamodule: BaseDataModule, name: str) -> Split:
    split = Split(name, [], f"datamodule.{name}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            split.items, split.classes = _items(datamodule.dataset(name))
        except DataError as error:
            split.findings.append(Finding("bad-line", name, split.source, str(error).removeprefix(f"{split.source}: ")))
    split.num_classes = datamodule.num_classes
    for text in (str(one.message) for one in said):
        if "videos are missing" in text and name == "train":  # evaluation keeps them, so they are found one by one
            split.findings.append(Finding("missing", name, split.source, text))
    return split


def _items(dataset: Any) -> tuple[list[Item], tuple[str, ...]]:
    """Return the media of a data set, and the names of its classes."""
    if isinstance(dataset, Concat):
        parts = [_items(part) for part in dataset.datasets]
        return [item for items, _ in parts for item in items], dataset.classes
    if isinstance(dataset, Subset):
        items, _ = _items(dataset.dataset)
        kept = [items[index] for index in dataset.indices]
        if dataset.chosen_classes is not None:
            kept = [one._replace(labels=_renumber(one.labels, dataset.chosen_classes)) for one in kept]
        return kept, dataset.classes
    if isinstance(videos := getattr(dataset, "videos", None), LabeledVideoPaths):
        return [video_item(video, videos.full_path(row)) for row, video in enumerate(videos)], videos.classes
    if isinstance(images := getattr(dataset, "images", None), ImageFiles):
        rows = ((images.name(row), int(label)) for row, label in enumerate(images.labels))
        return [_image(path, images.root, label) for path, label in rows], images.classes
    raise ConfigError(f"{type(dataset).__name__} does not read its samples from files, so there is nothing to check.")


def _image(path: str, root: str, label: int) -> Item:
    return Item(os.path.abspath(path), os.path.relpath(path, root), "image", () if label < 0 else (label,))


def _renumber(labels: tuple[int, ...], chosen: np.ndarray[Any, Any]) -> tuple[int, ...]:
    return tuple(int(np.searchsorted(chosen, label)) for label in labels)
