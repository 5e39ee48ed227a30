"""Features on disk: shards that are read where they are needed, and one index that says all about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eztorch.utils.errors import DataError

INDEX = "index.json"
FORMAT = "eztorch features 1"
CLIP_COLUMNS = ("clip_index", "aug_index", "clip_start", "clip_end")


class FeatureSet(Protocol):
    """Features of samples in the order of their `idx`, wherever they are."""

    @property
    def source(self) -> str:
        """Where they are, for messages and files; the same for the same set."""

    @property
    def idx(self) -> Tensor:
        """Index of the sample of each row in its data set, shape (N,)."""

    @property
    def labels(self) -> Tensor:
        """Classes, -1 for none, shape (N,); of samples with several labels the weights of the classes, shape (N, K)."""

    @property
    def label_names(self) -> list[str]:
        """Names of the classes in the order of their labels, empty where they are not known."""

    @property
    def n_expected(self) -> int:
        """How many samples there were to read."""

    @property
    def num_wrong(self) -> int:
        """How many of those that could not be read count as wrong answers."""

    def rows(self, begin: int, end: int) -> Tensor:
        """Return the features of rows in float32, shape (end - begin, C)."""

    def __len__(self) -> int: ...


class FeatureStore:
    """Features of a split in a folder, of which only what is asked for is read.

    The rows are in the order of `idx`, each sample once; with `clips: keep` a sample has a row for each of its clips,
    in the order of `clip_index` and `aug_index`. Features are what the model gave: they are not normalised.

    The folder has `index.json` and shards `00000.safetensors` and so on, with the tensors `features` (n, C), `labels`
    (n,), `idx` (n,) and either `num_clips` (n,), how many clips a mean is of, or `clip_index`, `aug_index`,
    `clip_start` and `clip_end` (n,).

    Args:
        folder: The folder.
        index: What its `index.json` says.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self.folder = folder
        self.index = index
        ends = torch.tensor([0, *(int(shard["rows"]) for shard in index["shards"])]).cumsum(0)
        self._ends: list[int] = ends.tolist()

    @staticmethod
    def open(path: str | Path) -> FeatureStore:
        """Open a store.

        Args:
            path: Its folder or its `index.json`.

        Raises:
            DataError: There is no store, it is of another version, or a shard is missing or damaged.

        >>> FeatureStore.open("/no/such/folder")
        Traceback (most recent call last):
        ...
        eztorch.utils.errors.DataError: /no/such/folder: there are no features (no index.json). ...
        """
        folder = Path(path).expanduser()
        folder = folder.parent if folder.name == INDEX else folder
        file = folder / INDEX
        if not file.is_file():
            others = sorted(str(one.parent) for one in folder.glob(f"*/{INDEX}"))
            hint = f"Did you mean {' or '.join(others)}?" if others else "`eztorch extract_features` writes them."
            raise DataError(f"{folder}: there are no features (no {INDEX}). {hint}")
        try:
            index = json.loads(file.read_text(encoding="utf-8"))
            known = index["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is no index of features: {error}.") from error
        if known != FORMAT:
            raise DataError(f"{file} has the format {known!r}; this version reads {FORMAT!r}.")
        store = FeatureStore(folder, index)
        for shard in index["shards"]:
            if not (folder / shard["file"]).is_file():
                raise DataError(
                    f"{folder / shard['file']} is missing, and {file} lists it. Extract the features again."
                )
        return store

    @property
    def source(self) -> str:
        """The folder, absolute."""
        return str(self.folder.resolve())

    @property
    def dim(self) -> int:
        """Length of a feature, C."""
        return int(self.index["dim"])

    @property
    def clips(self) -> str:
        """`average` or `keep`."""
        return str(self.index["clips"])

    @property
    def n_evaluated(self) -> int:
        """How many samples have features."""
        return int(self.index["n_evaluated"])

    @property
    def n_expected(self) -> int:
        """How many samples there were to read."""
        return int(self.index["n_expected"])

    @property
    def num_wrong(self) -> int:
        """How many samples could not be read and count as wrong answers: those with a label."""
        return sum(bool(one["counts_as_wrong"]) for one in self.index["failures"])

    @property
    def label_names(self) -> list[str]:
        """Names of the classes in the order of their labels, empty where they are not known."""
        return list(self.index["label_names"])

    @cached_property
    def idx(self) -> Tensor:
        """Index of the sample of each row, shape (N,)."""
        return self.column("idx")

    @cached_property
    def labels(self) -> Tensor:
        """Label of each row, shape (N,) or (N, K)."""
        return self.column("labels")

    @cached_property
    def _samples(self) -> Tensor:
        samples: Tensor = self.idx.unique()
        return samples

    def name(self, row: int) -> str:
        """Return the name of the sample of a row: the path of its video or image."""
        place = int(torch.searchsorted(self._samples, self.idx[row]))
        return str(self.index["names"][place])

    def column(self, name: str) -> Tensor:
        """Return another tensor of the shards, such as `clip_start`, whole."""
        return torch.cat([self._read(number, name) for number in range(len(self.index["shards"]))])

    def rows(self, begin: int, end: int) -> Tensor:
        """Return the features of some rows in float32; only they are read.

        Args:
            begin: The first row.
            end: The row behind the last one.
        """
        parts = []
        for number, (first, last) in enumerate(zip(self._ends[:-1], self._ends[1:], strict=True)):
            low, high = max(begin, first), min(end, last)
            if low < high:
                parts.append(self._read(number, "features", low - first, high - first).float())
        return torch.cat(parts) if parts else torch.empty(0, self.dim)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._ends[-1]

    def __getitem__(self, row: int) -> Tensor:
        """Return the feature of a row in float32, shape (C,).

        Raises:
            IndexError: There is no such row.
        """
        place = row + len(self) if row < 0 else row
        if not 0 <= place < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self.rows(place, place + 1)[0]

    def _read(self, number: int, name: str, begin: int = 0, end: int | None = None) -> Tensor:
        shard = self.index["shards"][number]
        path = self.folder / shard["file"]
        try:
            with safe_open(path, framework="pt") as file:
                found: Tensor = file.get_slice(name)[begin : int(shard["rows"]) if end is None else end]
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: {name} cannot be read: {error}. Extract the features again.") from error
        return found


class FeatureTable:
    """Features in memory, such as those of the predecessor's files.

    Args:
        features: Shape (N, C).
        labels: Shape (N,).
        idx: Shape (N,); the rows are counted where it is not given.
        source: Where they are from.
    """

    def __init__(self, features: Tensor, labels: Tensor, idx: Tensor | None = None, *, source: str) -> None:
        self.features, self.labels, self.source = features, labels, source
        self.idx = torch.arange(len(features)) if idx is None else idx
        self.n_expected = len(features)
        self.num_wrong = 0
        self.label_names: list[str] = []

    def rows(self, begin: int, end: int) -> Tensor:
        """Return the features of some rows in float32."""
        return self.features[begin:end].float()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.features)


def blocks(features: FeatureSet, size: int) -> Iterator[Tensor]:
    """Read features a block at a time.

    Args:
        features: The features.
        size: Rows of a block; the last one has what is left.
    """
    for begin in range(0, len(features), size):
        yield features.rows(begin, min(begin + size, len(features)))


def open_features(features_path: str | Path, labels_path: str | Path | None = None, *, key: str = "") -> FeatureSet:
    """Open a store, or the files of the predecessor (`{split}{prefix}_features.pth` and its siblings).

    Args:
        features_path: Folder of a store, its `index.json`, or a file of features, shape (N, C).
        labels_path: File of labels, shape (N,); for a file of features, whose sibling it is when it is not given. The
            `_ids` beside them are read where there are any.
        key: The configuration key of these paths, for messages.

    Raises:
        DataError: They cannot be read or do not fit each other.
    """
    path = Path(features_path).expanduser()
    if path.suffix not in (".pth", ".pt"):
        if labels_path is not None:
            raise DataError(f"{key}.labels_path={labels_path}: a store has its labels with it; leave labels_path out.")
        try:
            return FeatureStore.open(path)
        except DataError as error:
            raise DataError(f"{key}.features_path: {error}") from error
    features = _tensor(path, f"{key}.features_path", 2)
    sibling = path.with_name(path.name.replace("features", "labels"))
    labels = _tensor(Path(labels_path).expanduser() if labels_path else sibling, f"{key}.labels_path", 1)
    ids = path.with_name(path.name.replace("features", "ids"))
    idx = _tensor(ids, f"{key}.features_path", 1) if ids != path and ids.is_file() else None
    for what, one in (("labels", labels), ("ids", idx)):
        if one is not None and len(one) != len(features):
            raise DataError(f"{path} has {len(features)} rows, and there are {len(one)} {what} for them.")
    return FeatureTable(features, labels, idx, source=str(path.resolve()))


def _tensor(path: Path, key: str, dimensions: int) -> Tensor:
    if not path.is_file():
        raise DataError(f"{key}={path} does not exist.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader met
        raise DataError(f"{key}={path} is no file of a tensor: {error}") from error
    if not isinstance(found, Tensor) or found.ndim != dimensions:
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DataError(f"{key}={path}: expected a tensor of {dimensions} dimension(s), got {what}.")
    return found
