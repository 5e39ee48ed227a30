"""What all datamodules share: splits, batch sizes, and loaders that are exact at any number of processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from eztorch.datamodules.loader import make_evaluation_loader, make_training_loader
from eztorch.datamodules.sources import DataSource, read_sources
from eztorch.datamodules.split_checks import check_accumulation, check_split
from eztorch.datasets.concat import Concat, check_classes_agree, class_names_of
from eztorch.datasets.loader_samplers import EpochSampler, ShardSampler
from eztorch.datasets.subsets import Subset, choose_classes, choose_samples, labels_of
from eztorch.utils.distributed import local_batch_size
from eztorch.utils.errors import ConfigError, EztorchError
from eztorch.utils.names import choose

SPLITS = ("train", "val", "test")
STAGES: dict[str | None, tuple[str, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": (),
    None: SPLITS,
}


class BaseDataModule(LightningDataModule, ABC):
    """Three splits, each described by a mapping.

    Keys of a split:

    * `dataset`: where it is, and the keys of a `SubsetRule` (`class_ratio`, `class_list`, `sample_ratio`,
      `sample_list`, `seed`) for a part of it; or a list of such mappings, whose samples follow one another. In training
      `repeat` says how often those of a mapping are in an epoch;
    * `transform` of a sample;
    * `global_batch_size`, of all processes together;
    * `loader`: options of a torch `DataLoader`, of which `shuffle` (training only, true by default) and `collate_fn`
      (`default` or `multiple_samples_collate`) are read here. Workers live on between epochs unless
      `persistent_workers: false`; options that concern workers do not count where `num_workers` is 0;
    * `num_folds` (training only): an epoch passes that many times over the data, see `EpochSampler`;
    * `on_error`: what happens when a sample cannot be read, one of `eztorch.datasets.reading.ON_ERROR`;
      `count_as_wrong` is for evaluation.

    A training set is permuted anew every epoch, also on one device. In evaluation every process has its share of the
    samples, none twice and none left out. A split that is None has no loader.

    Where classes are chosen, they become 0 to k - 1 in their order, and `num_classes` is k as soon as the data is set
    up. All splits have to choose the same ones.

    Args:
        datadir: Folder of the data.
        train: The training split.
        val: The validation split.
        test: The test split.

    Attributes:
        num_classes: Number of classes.
        specs: The mappings of the splits that there are.
        test_follows: Whether a test follows the training: its samples are then looked for before the training.

    Raises:
        ConfigError: A split has an unknown key, no batch size or a loader that cannot be.
    """

    num_classes: int
    split_keys: ClassVar[tuple[str, ...]] = (
        "dataset",
        "transform",
        "global_batch_size",
        "loader",
        "num_folds",
        "on_error",
    )

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
            check_split(spec, split, known=self.split_keys)
        self.test_follows = False
        self._datasets: dict[tuple[str, str], Dataset[Any]] = {}
        self._all_classes: int | None = None  # how many there are, where classes are chosen
        self._chosen_classes: dict[str, tuple[int, ...] | None] = {}  # by split
        if "val" not in self.specs:  # Lightning runs without validation where this method is its own
            self.val_dataloader = super().val_dataloader  # type: ignore[method-assign]

    @abstractmethod
    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> Dataset[Any]:
        """Make a map-style dataset that takes a `SampleAddress`.

        Args:
            split: The split whose samples it has.
            spec: The mapping of the split that says how they are read. Its `dataset` is one mapping that says where
                they are; keys that are read here, such as those of a subset, are gone.
            training: Whether it is read for training.
        """

    def look_at(self, dataset: Dataset[Any], indices: NDArray[np.int64] | None, *, split: str, key: str) -> None:
        """Say what is known of the samples of a split, or refuse them, before any of them is read.

        Args:
            dataset: What `make_dataset` returned.
            indices: Which of its samples are taken, shape (n,); None for all.
            split: The split.
            key: The configuration key that describes them, for messages.
        """

    def setup(self, stage: str | None = None) -> None:
        """Make the datasets of a stage."""
        for split in (*STAGES[stage], *(["test"] if stage == "fit" and self.test_follows else [])):
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
            sources = read_sources(choose(self.specs, split, "split").get("dataset"), split)
            spec, training = choose(self.specs, key[1], "split"), key == ("train", "train")
            parts = [self._part(split, spec, source, training=training) for source in sources]
            check_classes_agree(parts, [source.key for source in sources])
            repeats = [source.repeat if training else 1 for source in sources]
            self._datasets[key] = parts[0] if repeats == [1] else Concat(parts, repeats)
        return self._datasets[key]

    def _part(self, split: str, spec: Mapping[str, Any], source: DataSource, *, training: bool) -> Dataset[Any]:
        """Make the dataset of a source, of which a subset may be taken."""
        with self._knowing_all_classes() as num_classes:
            dataset = self.make_dataset(split, {**spec, "dataset": source.described}, training=training)
        try:
            classes = choose_classes(source.rule, class_names_of(dataset), num_classes)
            indices = None if source.rule.takes_all else choose_samples(dataset, source.rule, classes)
        except EztorchError as error:
            raise type(error)(f"{source.key}: {error}") from error
        self._choose_classes(split, source, None if classes is None else tuple(classes.tolist()))
        self.look_at(dataset, indices, split=split, key=source.key)
        return dataset if indices is None else Subset(dataset, indices, classes=classes)

    @contextmanager
    def _knowing_all_classes(self) -> Iterator[int]:
        """Let `num_classes` be what the data has, by which labels are checked, whatever was chosen of it."""
        shown, self.num_classes = self.num_classes, self._all_classes or self.num_classes
        try:
            yield self.num_classes
        finally:
            self.num_classes = shown

    def _choose_classes(self, split: str, source: DataSource, classes: tuple[int, ...] | None) -> None:
        for other, chosen in self._chosen_classes.items():
            if chosen != classes:
                raise ConfigError(
                    f"{source.key} has {_counted(classes)}, and datamodule.{other}.dataset {_counted(chosen)}. Write "
                    "the same class_list, or the same class_ratio and seed, for every split: a label has to mean one "
                    "class."
                )
        self._chosen_classes[split] = classes
        if classes is not None and self._all_classes is None:
            self._all_classes, self.num_classes = self.num_classes, len(classes)

    @property
    def train_num_samples(self) -> int:
        """Number of samples of the training split, 0 without one."""
        return self.num_samples("train")

    @property
    def train_labels(self) -> NDArray[np.int64]:
        """Class of every training sample, -1 for none, shape (N,), repetitions counted.

        Raises:
            ConfigError: There is no training split.
            DataError: Its samples have several classes, or do not tell theirs.
        """
        return labels_of(self.dataset("train"))

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
            length,
            rank=self._rank(),
            world=self._world(),
            shuffle=options.get("shuffle", True) and not getattr(self.trainer, "overfit_batches", 0),
            drop_last=drop_last,
            num_folds=self.specs["train"].get("num_folds") or 1,
        )
        loader = make_training_loader(dataset, sampler, options, batch_size=size, position=self._batches_behind)
        if self.trainer is not None and sampler.num_folds > 1:
            check_accumulation(self.trainer.accumulate_grad_batches, loader.batches_per_pass, sampler.num_folds)
        return loader

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
        return make_evaluation_loader(
            dataset, sampler, self.specs[read_as].get("loader") or {}, batch_size=self.local_batch_size(read_as)
        )

    def _world(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _batches_behind(self) -> int:
        """Return how many batches of the epoch a run has behind it that is being resumed, 0 for any other."""
        fit_loop = getattr(self.trainer, "fit_loop", None)
        return fit_loop.epoch_loop.batch_idx + 1 if fit_loop is not None and fit_loop.epoch_loop.restarting else 0


def _counted(classes: tuple[int, ...] | None) -> str:
    if classes is None:
        return "all classes"
    return f"{len(classes)} of the classes ({', '.join(map(str, classes[:8]))}{', ...' if len(classes) > 8 else ''})"
