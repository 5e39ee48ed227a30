"""Datamodules of labelled images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from typing_extensions import TypedDict, Unpack

from eztorch.datamodules.base import STAGES, BaseDataModule
from eztorch.datamodules.sources import data_folder, read_sources
from eztorch.datasets.image_dataset import ImageDataset
from eztorch.datasets.image_folder import class_folders, list_images
from eztorch.datasets.image_sources import ImagePairs, ImageSource
from eztorch.datasets.resident_images import ImageMemory, ResidentImages
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import check_keys
from eztorch.utils.values import as_count


class ImageKeys(TypedDict, total=False):
    """Keys that every datamodule of images takes; `ImageBaseDataModule` says what they mean."""

    train: Mapping[str, Any] | None
    val: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    resident: bool
    resident_limit_gb: float


class ImageBaseDataModule(BaseDataModule):
    """Splits of labelled images.

    The samples of a split are made by loader workers, which read one image at a time and apply its `transform`. Or,
    with `resident`, all images of a split live on the device as one uint8 tensor, and batches are taken from it there,
    in the same order: no workers, no copies. Views are then made by the batch transforms of the model; a split has no
    `transform`, and its `num_workers` read the images once.

    The `dataset` of a split may have `datadir`, where it is elsewhere.

    Args:
        datadir: Folder of the data.
        train: The training split.
        val: The validation split.
        test: The test split.
        resident: Whether the images live on the device.
        resident_limit_gb: Most memory that a split may take there, in GB; each split has its own tensor.

    Raises:
        ConfigError: As in `BaseDataModule`, or a split of resident images has a transform.
    """

    def __init__(
        self,
        datadir: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        resident: bool = False,
        resident_limit_gb: float = 8.0,
    ) -> None:
        super().__init__(datadir, train, val, test)
        self.resident = resident
        self.resident_limit_gb = resident_limit_gb
        self._sources: dict[str, ImageSource] = {}
        self._memories: dict[str, ImageMemory] = {}
        self._readers = {split: (spec.get("loader") or {}).get("num_workers", 0) for split, spec in self.specs.items()}
        for split, spec in self.specs.items() if resident else ():
            if any(source.repeat > 1 for source in read_sources(spec.get("dataset"), split)):
                raise ConfigError(
                    f"datamodule.{split}.dataset: resident images are on the device once, so repeat is not possible; "
                    f"datamodule.{split}.num_folds repeats all of them."
                )
            if spec.get("transform") is not None:
                raise ConfigError(
                    f"datamodule.{split}.transform: resident images have no transform of single samples; write it as a "
                    f"batch transform, model.{split}_transform, or datamodule.resident=false."
                )
            self.specs[split] = {**spec, "loader": {**(spec.get("loader") or {}), "num_workers": 0}}

    @abstractmethod
    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """Find the images of a split.

        Args:
            split: The split.
            dataset: Its `dataset`, one mapping.

        Raises:
            DataError: They are not there.
        """

    def images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """Return the images of a split, the same at every call.

        Args:
            split: The split.
            dataset: Its `dataset`, one mapping.

        Raises:
            ConfigError: `dataset` cannot be used.
            DataError: The images are not there; the message has the key and the path.
        """
        key = f"{split} {sorted(dataset.items())}"
        if key not in self._sources:
            try:
                self._sources[key] = self.read_images(split, dataset)
            except DataError as error:
                raise DataError(f"datamodule.{split}: {error}") from error
        return self._sources[key]

    def folder(self, split: str, dataset: Mapping[str, Any], default: str = "") -> Path:
        """Return the folder of a split: what its `dataset` says, or a folder in that of the data.

        Args:
            split: The split.
            dataset: Its `dataset`.
            default: The folder in that of the data.

        Raises:
            ConfigError: `dataset` has a key other than `datadir`, or no folder is given.
        """
        check_keys(dataset, ["datadir"], f"datamodule.{split}.dataset")
        if dataset.get("datadir"):
            return Path(dataset["datadir"])
        return data_folder(self.datadir, split) / default

    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> ImageDataset:
        """Make the dataset of a split; see `BaseDataModule.make_dataset`."""
        return ImageDataset(
            self.images(split, spec.get("dataset") or {}),
            transform=build(spec.get("transform")),
            training=training,
            on_error=spec.get("on_error") or "skip",
        )

    def setup(self, stage: str | None = None) -> None:
        """Make the datasets of a stage; with `resident`, bring them to the device."""
        super().setup(stage)
        for split in STAGES[stage]:
            if split in self._memories:
                self._memories[split].load()

    def dataset(self, split: str, *, read_as: str | None = None) -> Dataset[Any]:
        """Return the dataset of a split; see `BaseDataModule.dataset`."""
        dataset = super().dataset(split, read_as=read_as)
        if not self.resident:
            return dataset
        if split not in self._memories:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
            self._memories[split] = ImageMemory(
                dataset,
                device,
                limit_gb=self.resident_limit_gb,
                num_workers=self._readers[split],
                name=f"datamodule.{split}",
            )
        return ResidentImages(self._memories[split], dataset)


class FolderDataModule(ImageBaseDataModule):
    """Image files in folders of classes: `{train,val,test}/<class>/<image>`.

    The `dataset` of a split may name another folder of classes with `datadir`. The class folders of the training set
    say which label is which.

    Args:
        datadir: Folder of the data.
        num_classes: Number of classes; by default that of the class folders.
        **keys: See `ImageBaseDataModule`.

    Raises:
        ConfigError: As in `ImageBaseDataModule`.
        DataError: The classes are to be counted, and there is no folder of them.
    """

    def __init__(
        self, datadir: str | Path | None = None, *, num_classes: int | None = None, **keys: Unpack[ImageKeys]
    ) -> None:
        super().__init__(datadir, **keys)
        self._classes: tuple[str, ...] = ()
        self.num_classes = len(self.classes) if num_classes is None else as_count(num_classes, "datamodule.num_classes")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders of the training set, of the first split where there is none."""
        if not self._classes:
            split = next(iter(self.specs), "train")
            described = self.specs.get(split, {}).get("dataset") or {}
            first = described[0] if isinstance(described, list | tuple) else described
            first = {key: value for key, value in first.items() if key == "datadir"}
            self._classes = class_folders(self.folder(split, first, split))
        return self._classes

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """List the images of a split; see `ImageBaseDataModule.read_images`."""
        folder = self.folder(split, dataset, split)
        if len(self.classes) > self.num_classes:
            raise DataError(f"{folder}: there are {len(self.classes)} classes; num_classes={self.num_classes}.")
        return list_images(folder, self.classes)


class ImageDataModule(ImageBaseDataModule):
    """Any data set of pairs of an image and a label, such as those of torchvision.

    The `dataset` of a split is its spec, for example `{_target_: torchvision.datasets.SVHN, root: ..., split: train}`.

    Args:
        num_classes: Number of classes.
        **keys: See `ImageBaseDataModule`; there is no `datadir`.

    Raises:
        ConfigError: As in `ImageBaseDataModule`, or a split has no spec.
    """

    def __init__(self, *, num_classes: int, **keys: Unpack[ImageKeys]) -> None:
        super().__init__(None, **keys)
        self.num_classes = as_count(num_classes, "datamodule.num_classes")

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """Build the data set of a split; see `ImageBaseDataModule.read_images`."""
        if not is_spec(dataset):
            raise ConfigError(
                f"datamodule.{split}.dataset={dict(dataset)}; expected a mapping with a _target_, for example "
                "torchvision.datasets.SVHN, and its arguments."
            )
        source = ImagePairs(build(dataset))
        if source.labels.max(initial=-1) >= self.num_classes:
            raise DataError(f"there is a label {source.labels.max()}; num_classes={self.num_classes}.")
        return source
