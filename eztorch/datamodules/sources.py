"""What the `dataset` of a split says: where its samples are, which of them are taken, and how several go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eztorch.datasets.subsets import SUBSET_KEYS, SubsetRule
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.values import as_count

_EVALUATED_ONCE = "every sample is evaluated once"


class DataSource(NamedTuple):
    """One of the data sets that make up a split.

    Attributes:
        key: The configuration key of it, for messages.
        described: Where it is: what is left for `BaseDataModule.make_dataset`.
        rule: Which of its samples are taken.
        repeat: How often they are in an epoch of training.
    """

    key: str
    described: Mapping[str, Any]
    rule: SubsetRule
    repeat: int


def read_sources(dataset: Any, split: str) -> list[DataSource]:
    """Read the `dataset` of a split: one mapping, or a list of them.

    `seed` belongs to the subset where a share of classes or samples is drawn, and to the data set otherwise.

    Args:
        dataset: What the configuration says, None for nothing.
        split: Name of the split.

    Raises:
        ConfigError: It is something else, or a rule of a subset cannot be.
    """
    key = f"datamodule.{split}.dataset"
    if isinstance(dataset, Sequence) and not isinstance(dataset, str):
        if not dataset:
            raise ConfigError(f"{key} is an empty list; expected a mapping, or several.")
        return [_read_source(one, f"{key}.{index}", split) for index, one in enumerate(dataset)]
    return [_read_source({} if dataset is None else dataset, key, split)]


def data_folder(datadir: str | Path | None, split: str) -> Path:
    """Return the folder of the data, where a split needs it.

    Raises:
        ConfigError: None is given.
        DataError: It is not there.
    """
    if datadir is None:
        raise ConfigError(
            f"Where the {split} split is is not said: write dir.data=/path/to/data (datamodule.datadir), or "
            f"datamodule.{split}.dataset.datadir."
        )
    if not Path(datadir).is_dir():
        raise DataError(f"datamodule.datadir (dir.data)={datadir}: there is no such folder.")
    return Path(datadir)


def _read_source(dataset: Any, key: str, split: str) -> DataSource:
    if not isinstance(dataset, Mapping):
        raise ConfigError(f"{key}={dataset!r}; expected a mapping, or a list of mappings.")
    repeat = as_count(dataset.get("repeat", 1), f"{key}.repeat")
    if repeat > 1 and split != "train":
        raise ConfigError(f"{key}.repeat={repeat}: {_EVALUATED_ONCE}; leave it out.")
    draws = any(dataset.get(name) is not None for name in ("class_ratio", "sample_ratio"))
    ours = [name for name in SUBSET_KEYS if name in dataset and (name != "seed" or draws)]
    try:
        rule = SubsetRule(**{name: dataset[name] for name in ours})
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
    rest = {name: value for name, value in dataset.items() if name not in (*ours, "repeat")}
    return DataSource(key, rest, rule, repeat)
