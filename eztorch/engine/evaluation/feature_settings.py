"""The sections `extract`, `knn` and `retrieval` of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import check_keys, choose
from eztorch.utils.values import as_count

_CLIPS = ("average", "keep")
_FORMATS = ("store", "legacy")
_DTYPES = ("float32", "float16")
_S = TypeVar("_S")


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """The section `extract`: which features are taken, and how they are kept.

    Attributes:
        features: Name of the features in what the model's validation step returns: `h` of the trunk, `z` of the
            projection, `logits` of a classifier.
        splits: Whose features; None for those of train, val and test that there are.
        clips: `average` for one feature a sample, the mean over its clips, or `keep` for one a clip.
        dtype: `float32` or `float16`, on disk.
        rows_per_shard: Rows of a file.
        folder: Where the stores are, a folder a split, within the run directory.
        format: `store`, or `legacy` for the files of the predecessor too.
        prefix: Of the names of those files: `{split}{prefix}_features.pth`.
        reuse: Take the features that are there, where they are of these weights, data and settings.
    """

    features: str = "h"
    splits: Sequence[str] | None = None
    clips: str = "average"
    dtype: str = "float32"
    rows_per_shard: int = 4096
    folder: str = "features"
    format: str = "store"
    prefix: str = ""
    reuse: bool = True

    def __post_init__(self) -> None:
        for key, known in (("clips", _CLIPS), ("dtype", _DTYPES), ("format", _FORMATS)):
            choose({name: name for name in known}, getattr(self, key), f"extract.{key}")
        as_count(self.rows_per_shard, "extract.rows_per_shard")
        if self.format == "legacy" and self.clips == "keep":
            raise ConfigError("extract.format=legacy: those files have one row a sample; write extract.clips=average.")


@dataclass(frozen=True, kw_only=True)
class KNNSettings:
    """The section `knn`.

    Attributes:
        k: Numbers of neighbours; `knn/acc_1` is that of the first one.
        temperature: Temperatures of the votes, or one; `knn/acc_1` is that of the first one.
        bank: Split of the neighbours.
        query: Split that is classified; where it is the bank, a sample is not its own neighbour.
    """

    k: Sequence[int] | int = (20, 10, 200)
    temperature: Sequence[float] | float = 0.07
    bank: str = "train"
    query: str = "val"

    def __post_init__(self) -> None:
        for k in self.ks or (None,):
            as_count(k, "knn.k")
        for temperature in self.temperatures or (None,):
            if not isinstance(temperature, int | float) or isinstance(temperature, bool) or temperature <= 0:
                raise ConfigError(f"knn.temperature={temperature!r}; expected positive numbers.")

    @property
    def ks(self) -> list[Any]:
        """The numbers of neighbours."""
        return list(self.k) if isinstance(self.k, Sequence) else [self.k]

    @property
    def temperatures(self) -> list[Any]:
        """The temperatures."""
        listed = isinstance(self.temperature, Sequence) and not isinstance(self.temperature, str)
        return list(self.temperature) if listed else [self.temperature]  # type: ignore[arg-type]  # mypy cannot follow


@dataclass(frozen=True, kw_only=True)
class RetrievalSide:
    """`retrieval.query` or `retrieval.bank`.

    Attributes:
        split: Its split, where the features are extracted first.
        features_path: A feature store, or a `.pth` file of the predecessor; None to extract.
        labels_path: The labels of a `.pth` file; None for the file beside it.
        center: Take the mean of the bank off.
        normalize: Divide by the L2 norm.
    """

    split: str
    features_path: str | None = None
    labels_path: str | None = None
    center: bool = False
    normalize: bool = True


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """The section `retrieval`.

    Attributes:
        query: See `RetrievalSide`.
        bank: See `RetrievalSide`; where both are one set, a sample does not find itself.
        ranks: The numbers r of recall at r.
        mean_average_precision: Compute `retrieval/map` too.
        num_neighbours: How many neighbours of each query are kept.
    """

    query: Mapping[str, Any] = field(default_factory=dict)
    bank: Mapping[str, Any] = field(default_factory=dict)
    ranks: Sequence[int] = (1, 5, 10, 20)
    mean_average_precision: bool = True
    num_neighbours: int = 10

    def __post_init__(self) -> None:
        if isinstance(self.ranks, str) or not isinstance(self.ranks, Sequence) or not self.ranks:
            raise ConfigError(f"retrieval.ranks={self.ranks!r}; expected a list of numbers, such as [1, 5, 10, 20].")
        for rank in self.ranks:
            as_count(rank, "retrieval.ranks")
        as_count(self.num_neighbours, "retrieval.num_neighbours")
        paths = [side.features_path for side in self.sides]
        if (paths[0] is None) != (paths[1] is None):
            given, other = ("query", "bank") if paths[1] is None else ("bank", "query")
            raise ConfigError(
                f"retrieval.{given}.features_path is given and retrieval.{other}.features_path is not: write both, or "
                "none to extract the features first."
            )

    @property
    def sides(self) -> tuple[RetrievalSide, RetrievalSide]:
        """The queries and the bank."""
        return (
            read_settings(RetrievalSide, {"split": "val", **self.query}, "retrieval.query"),
            read_settings(RetrievalSide, {"split": "train", **self.bank}, "retrieval.bank"),
        )


def read_settings(kind: type[_S], section: Any, key: str) -> _S:
    """Read a section.

    Args:
        kind: A dataclass of what it may say.
        section: The section; None for an empty one.
        key: What messages call it.

    Raises:
        ConfigError: It is no mapping, has an unknown key, or a value that cannot be.

    >>> read_settings(KNNSettings, {"k": 5}, "knn").ks
    [5]
    """
    if not isinstance(section or {}, Mapping):
        raise ConfigError(f"{key}={section!r}; expected a mapping.")
    check_keys(section or {}, [one.name for one in fields(kind)], key)  # type: ignore[arg-type]  # it is a dataclass
    return kind(**(section or {}))
