"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import Unpack

from eztorch.datamodules.download import download as fetch
from eztorch.datamodules.image import ImageBaseDataModule, ImageKeys
from eztorch.datasets.cifar import has_cifar, read_cifar
from eztorch.datasets.image_choices import ImageChoice, part_by_class
from eztorch.datasets.image_sources import ImageSource
from eztorch.utils.errors import ConfigError


class CIFARDataModule(ImageBaseDataModule):
    """The official training images; validation and test are the official test images.

    Args:
        datadir: Folder of the data, see `eztorch.datasets.cifar.read_cifar`.
        num_classes_kept: Use the images of the first classes alone, that many; None for all.
        split_train_ratio: Share of the training images of each class that is trained on; validation is then the rest of
            them. None to train on all and to validate on the test images.
        seed_for_split: Seed of that parting; it does not follow the seed of the run.
        download: Whether the official archive is fetched where the data is missing.
        **keys: See `ImageBaseDataModule`.

    Raises:
        ConfigError: As in `ImageBaseDataModule`, or a value is out of its range.
    """

    official_classes: ClassVar[int]

    def __init__(
        self,
        datadir: str | Path | None = None,
        *,
        num_classes_kept: int | None = None,
        split_train_ratio: float | None = None,
        seed_for_split: int = 42,
        download: bool = False,
        **keys: Unpack[ImageKeys],
    ) -> None:
        super().__init__(datadir, **keys)
        kept = self.official_classes if num_classes_kept is None else num_classes_kept
        if not 2 <= kept <= self.official_classes:
            raise ConfigError(f"datamodule.num_classes_kept={kept}; expected 2 to {self.official_classes}.")
        if split_train_ratio is not None and not 0 < split_train_ratio < 1:
            raise ConfigError(f"datamodule.split_train_ratio={split_train_ratio}; expected a share between 0 and 1.")
        self.num_classes = kept
        self.split_train_ratio = split_train_ratio
        self.seed_for_split = seed_for_split
        self.download = download

    def prepare_data(self) -> None:
        """Fetch the data where it is missing and `download` is true.

        Raises:
            DataError: It cannot be fetched.
        """
        if self.download and (self.datadir is None or not has_cifar(self.datadir, self.official_classes)):
            fetch(f"CIFAR{self.official_classes}", self.datadir)

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """Read the images of a split; see `ImageBaseDataModule.read_images`."""
        of_train = split == "train" or (split == "val" and self.split_train_ratio is not None)
        source = read_cifar(self.folder(split, dataset), self.official_classes, train=of_train)
        if self.num_classes < self.official_classes:
            source = ImageChoice(source, np.flatnonzero(source.labels < self.num_classes))
        if self.split_train_ratio is not None and of_train:
            parts = part_by_class(source.labels, self.split_train_ratio, self.seed_for_split)
            source = ImageChoice(source, parts[split == "val"])
        return source


class CIFAR10DataModule(CIFARDataModule):
    """CIFAR-10: 10 classes of 5,000 and 1,000 images of 32 x 32; keys as in `CIFARDataModule`."""

    official_classes = 10


class CIFAR100DataModule(CIFARDataModule):
    """CIFAR-100: 100 fine classes of 500 and 100 images of 32 x 32; keys as in `CIFARDataModule`."""

    official_classes = 100
