"""ImageNet (Russakovsky et al., arXiv 1409.0575) and its smaller editions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from eztorch.datamodules.image import ImageBaseDataModule, ImageKeys
from eztorch.datasets.image_folder import class_folders, list_images
from eztorch.datasets.image_sources import ImageSource
from eztorch.datasets.imagenet100 import IMAGENET100_CLASSES
from eztorch.datasets.tiny_imagenet import read_tiny_imagenet
from eztorch.utils.errors import ConfigError, DataError

# The labels of the test images are not public.
_FOLDERS = {"train": "train", "val": "val", "test": "val"}


class ImagenetDataModule(ImageBaseDataModule):
    """ImageNet-1k: `train/<wnid>/<image>` and `val/<wnid>/<image>`; test reads `val` too.

    The labels are the 1000 wnids in alphabetical order. The keys are those of `ImageBaseDataModule`; the `datadir` of a
    split's `dataset` is a folder of wnids.
    """

    num_classes = 1000

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """List the images of a split; see `ImageBaseDataModule.read_images`."""
        folder = self.folder(split, dataset, _FOLDERS[split])
        found = class_folders(folder)
        if len(found) != self.num_classes:
            raise DataError(
                f"{folder}: there are {len(found)} class folders; ImageNet has {self.num_classes}. Use "
                "FolderDataModule for other classes."
            )
        return list_images(folder, found)


class Imagenet100DataModule(ImageBaseDataModule):
    """100 classes of ImageNet, chosen inside the folders of the full set, `{train,val}/<wnid>/<image>`.

    The classes are those of Contrastive Multiview Coding (arXiv 1906.05849); the labels are their order.

    Args:
        datadir: Folder of ImageNet.
        class_list: Other classes: their wnids, or a text file of them.
        **keys: See `ImageBaseDataModule`; the `datadir` of a split's `dataset` is a folder of wnids.

    Raises:
        ConfigError: As in `ImageBaseDataModule`, or the list cannot be read or names a class twice.
    """

    def __init__(
        self,
        datadir: str | Path | None = None,
        *,
        class_list: Sequence[str] | str | Path | None = None,
        **keys: Unpack[ImageKeys],
    ) -> None:
        super().__init__(datadir, **keys)
        self.classes = IMAGENET100_CLASSES if class_list is None else _read_classes(class_list)
        self.num_classes = len(self.classes)

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """List the images of the classes; see `ImageBaseDataModule.read_images`."""
        folder = self.folder(split, dataset, _FOLDERS[split])
        missing = sorted(set(self.classes) - set(class_folders(folder)))
        if missing:
            raise DataError(f"{folder}: {len(missing)} of the {self.num_classes} classes are not there: {missing[:5]}.")
        return list_images(folder, self.classes, ignore_others=True)


class TinyImagenetDataModule(ImageBaseDataModule):
    """Tiny-ImageNet: 200 classes of 500 and 50 images of 64 x 64; test reads `val` too, whose labels are public.

    See `eztorch.datasets.tiny_imagenet.read_tiny_imagenet` for the layout; the keys are those of `ImageBaseDataModule`.
    """

    num_classes = 200

    def read_images(self, split: str, dataset: Mapping[str, Any]) -> ImageSource:
        """List the images of a split; see `ImageBaseDataModule.read_images`."""
        folder = self.folder(split, dataset)
        source = read_tiny_imagenet(folder, _FOLDERS[split])
        if len(source.classes) != self.num_classes:
            raise DataError(f"{folder}: there are {len(source.classes)} classes; Tiny-ImageNet has {self.num_classes}.")
        return source


def _read_classes(listed: Sequence[str] | str | Path) -> tuple[str, ...]:
    if isinstance(listed, str | Path):
        try:
            listed = Path(listed).read_text().split()
        except OSError as error:
            raise ConfigError(f"datamodule.class_list={listed}: {error.strerror}; expected a file of wnids.") from error
    if not listed or len(set(listed)) != len(listed):
        raise ConfigError(f"datamodule.class_list: {len(listed)} classes, {len(set(listed))} of them different.")
    return tuple(listed)
