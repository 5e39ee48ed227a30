"""STL-10 (Coates et al. 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from eztorch.datamodules.download import download as fetch
from eztorch.datamodules.image import ImageBaseDataModule, ImageKeys
from eztorch.datasets.image_sources import ImageSource
from eztorch.datasets.stl10 import NUM_CLASSES, SPLITS, has_stl10, read_stl10
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


class STL10DataModule(ImageBaseDataModule):
    """STL-10: 10 classes of 500 and 800 images of 96 x 96, and 100,000 without a label.

    Validation and test are the official test images.

    Args:
        datadir: Folder of the data, see `eztorch.datasets.stl10.read_stl10`.
        folds: Number of one of the 10 official folds of the training images, 0 to 9; None for all of them.
        training_split: What is trained on: `train`, `unlabeled` or `train+unlabeled`.
        download: Whether the official archive is fetched where the data is missing.
        **keys: See `ImageBaseDataModule`.

    Raises:
        ConfigError: As in `ImageBaseDataModule`, or an unknown split or fold.
    """

    num_classes = NUM_CLASSES

    def __init__(
        self,
        datadir: str | Path | None = None,
        *,
        folds: int | None = None,
        training_split: str = "unlabeled",
        download: bool = False,
        **keys: Unpack[ImageKeys],
    ) -> None:
        super().__init__(datadir, **keys)
        choose({name: name for name in SPLITS if name != "test"}, training_split, "datamodule.training_split")
        if folds is not None and (not 0 <= folds <= 9 or training_split == "unlabeled"):
            raise ConfigError(
                f"datamodule.folds={folds} with training_split={training_split!r}: the training images have the folds "
                "0 to 9, unlabelled ones have none."
            )
        self.folds = folds
        self.training_split = training_split
        self.download = download

    def prepare_data(self) -> None:
        """Fetch the data where it is missing and `download` is true.

        Raises:
            DataError: It cannot be fetched.
        """
        if self.download and (self.datadir is None or not has_stl10(self.datadir)):
            fetch("STL10", self.datadir)

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """Map the images of a split into memory; see `ImageBaseDataModule.read_images`."""
        folder = self.folder(split, dataset)
        if split == "train":
            return read_stl10(folder, self.training_split, fold=self.folds)
        return read_stl10(folder, "test")
