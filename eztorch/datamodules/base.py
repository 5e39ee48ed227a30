"""What all datamodules share: splits, batch sizes, and loaders that are exact at any number of processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from eztorch.datamodules.loader import check_options, make_loader
from eztorch.datasets.loader_samplers import EpochSampler, ShardSampler
from eztorch.utils.distributed import local_batch_size
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, nearest

SPLITS = ("train", "val", "test")
_STAGES: dict[str | None, tuple[str, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": (),
    None: SPLITS,
}


class BaseDataModule(LightningDataModule, ABC):
    """Three splits, each described by a mapping.

    Keys of a split: `dataset` (where it is), `transform` (of a sample), `global_batch_size` (of all processes together)
    and `loader`: options of a torch `DataLoader`, of which `shuffle` (training only, true by default) and `collate_fn`
    (`default` or `multiple_samples_collate`) are read here. Workers live on between epochs unless
    `persistent_workers: false`; options that concern workers do not count where `num_workers` is 0.

    A training set is permuted anew every epoch, also on one device. In evaluation every process has its share of the
    samples, none twice and none left out. A split that is None has no loader.

    Args:
        datadir: Folder of the data.
        train: The training split.
        val: The validation split.
        test: The test split.

    Attributes:
        num_classes: Number of classes.
        specs: The mappings of the splits that there are.

    Raises:
        ConfigError: A split has an unknown key, no batch size or a loader that cannot be.
    """

    num_classes: int
    split_keys: ClassVar[tuple[str, ...]] = ("dataset", "transform", "global_batch_size", "loader")

    def __init__(
        self,
        datadir: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.datadir = datadir
        self.specs = {split: spec for split, spec in zip(SPLITS, (train, val, test), strict=True) if spec is not None}
        for split, spec in self.specs.items():
            self._check_split(split, spec)
        self._datasets: dict[tuple[str, str], Dataset[Any]] = {}
        if "val" not in self.specs:  # Lightning runs without validation where this method is its own
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]

    @abstractmethod
    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> Dataset[Any]:
        """Make a map-style dataset that takes a `SampleAddress`.

        Args:
            split: The split whose samples it has.
            spec: The mapping of the split that says how they are read.
            training: Whether it is read for training.
        """

    def setup(self, stage: str | None = None) -> None:
        """Make the datasets of a stage."""
        for split in _STAGES[stage]:
            if split in self.specs:
                self.dataset(split)

    def dataset(self, split: str, *, read_as: str | None = None) -> Dataset[Any]:
        """Return the dataset of a split, the same at every call.

        Args:
            split: The split.
            read_as: The split that says how its samples are read; by default itself.

        Raises:
            ConfigError: There is no such split.
        """
        key = (split, read_as or split)
        if key not in self._datasets:
            choose(self.specs, split, "split")
            spec = {**choose(self.specs, key[1], "split"), "dataset": self.specs[split].get("dataset")}
            self._datasets[key] = self.make_dataset(split, spec, training=key == ("train", "train"))
        return self._datasets[key]

    @property
    def train_num_samples(self) -> int:
        """Number of samples of the training split, 0 without one."""
        return self.num_samples("train")

    @property
    def val_num_samples(self) -> int:
        """Number of samples of the validation split, 0 without one."""
        return self.num_samples("val")

    @property
    def test_num_samples(self) -> int:
        """Number of samples of the test split, 0 without one."""
        return self.num_samples("test")

    def num_samples(self, split: str) -> int:
        """Return the number of samples of a split, 0 where there is no such split."""
        return len(self.dataset(split)) if split in self.specs else 0  # type: ignore[arg-type]  # map-style

    def local_batch_size(self, split: str) -> int:
        """Return the batch size of this process.

        Raises:
            ConfigError: The number of processes does not divide `global_batch_size`.
        """
        size = choose(self.specs, split, "split")["global_batch_size"]
        return local_batch_size(size, self._world(), key=f"datamodule.{split}.global_batch_size")

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the training split.

        Raises:
            ConfigError: There is no training split, or `drop_last` leaves no batch of it.
        """
        dataset, options = self.dataset("train"), self.specs["train"].get("loader") or {}
        size, length, drop_last = self.local_batch_size("train"), self.train_num_samples, bool(options.get("drop_last"))
        if drop_last and length < size * self._world():
            raise ConfigError(
                f"datamodule.train.global_batch_size={size * self._world()} is more than the {length} training "
                "samples, so there is no batch to train on. Write a smaller one, or "
                "datamodule.train.loader.drop_last=false."
            )
        sampler = EpochSampler(
            length, rank=self._rank(), world=self._world(), shuffle=options.get("shuffle", True), drop_last=drop_last
        )
        return make_loader(dataset, sampler, options, batch_size=size, position=self._batches_behind)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the validation split.

        Raises:
            ConfigError: It has fewer samples than there are processes.
        """
        return self._evaluation_loader("val", "val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the test split.

        Raises:
            ConfigError: There is none, or it has fewer samples than there are processes.
        """
        return self._evaluation_loader("test", "test")

    def feature_dataloader(self, split: str) -> DataLoader[Any]:
        """Return a loader of the samples of a split, read as in evaluation: in order, none twice, none left out.

        The transform, the batch size and all else that says how samples are read are those of the validation split,
        or, where there is none, of the test split.

        Args:
            split: Whose samples.

        Raises:
            ConfigError: There is no such split, or none that says how samples are evaluated.
        """
        for read_as in ("val", "test"):
            if read_as in self.specs:
                return self._evaluation_loader(split, read_as)
        raise ConfigError(
            "Features are read as in evaluation, and there is neither datamodule.val nor datamodule.test."
        )

    def _evaluation_loader(self, split: str, read_as: str) -> DataLoader[Any]:
        dataset = self.dataset(split, read_as=read_as)
        length = len(dataset)  # type: ignore[arg-type]  # map-style
        if length < self._world():  # a process without samples would leave the others waiting at their collectives
            raise ConfigError(f"The {split} split has {length} sample(s), fewer than the {self._world()} processes.")
        sampler = ShardSampler(length, rank=self._rank(), world=self._world())
        return make_loader(
            dataset, sampler, self.specs[read_as].get("loader") or {}, batch_size=self.local_batch_size(read_as)
        )

    def _check_split(self, split: str, spec: Mapping[str, Any]) -> None:
        for key in spec:
            if key not in self.split_keys:
                close = nearest(str(key), self.split_keys)
                hint = f"Did you mean {close!r}?" if close else f"Known: {', '.join(self.split_keys)}."
                raise ConfigError(f"datamodule.{split}.{key}: unknown key. {hint}")
        size = spec.get("global_batch_size")
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"datamodule.{split}.global_batch_size={size!r}; expected a whole number of at least 1.")
        check_options(spec.get("loader") or {}, split)

    def _world(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _batches_behind(self) -> int:
        return 0 if self.trainer is None else self.trainer.fit_loop.epoch_loop.batch_idx + 1
