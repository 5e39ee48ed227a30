"""A datamodule of random data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eztorch.datamodules.base import BaseDataModule
from eztorch.datasets.random_dataset import RandomDataset
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


class RandomDataModule(BaseDataModule):
    """Noise, for tests and to measure speed without reading anything.

    The `dataset` of a split has `shape` and `len_dataset`, and may have `num_views` and `uint8`; see `RandomDataset`.

    Args:
        datadir: Not read.
        train: The training split.
        val: The validation split.
        test: The test split.
        num_classes: Number of classes.

    Raises:
        ConfigError: As in `BaseDataModule`, or a split has no `dataset` with `shape` and `len_dataset`.
    """

    def __init__(
        self,
        datadir: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        num_classes: int = 10,
    ) -> None:
        super().__init__(datadir, train, val, test)
        self.num_classes = num_classes

    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> RandomDataset:
        """Make the dataset of a split; see `BaseDataModule.make_dataset`."""
        dataset = spec["dataset"]
        if not {"shape", "len_dataset"} <= set(dataset):
            raise ConfigError(f"datamodule.{split}.dataset={dict(dataset)}; expected at least shape and len_dataset.")
        described = {**dataset, "_target_": "eztorch.datasets.RandomDataset"}
        result: RandomDataset = build(described, num_classes=self.num_classes, transform=build(spec.get("transform")))
        return result


DumbDataModule = RandomDataModule
