"""Labelled images as a map-style dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eztorch.datasets.image_folder import list_images
from eztorch.datasets.image_sources import ImagePairs, ImageSource
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import Indices, Item, Sample, blaming, check_on_error, read_item
from eztorch.utils.randomness import addressed_randomness


class ImageDataset(Dataset[Item]):
    """Labelled images.

    A sample is a mapping of `input` (uint8, `(C, H, W)`), `label` (-1 for none) and `idx`. What its transform draws
    from the global generators depends on (run seed, epoch, index) alone; they are put back afterwards.

    Args:
        images: Where they come from.
        transform: Applied to each sample.
        training: Whether another image may stand in for one that cannot be read; in evaluation none ever does.
        on_error: What happens when an image cannot be read, `raise`, `skip` or `count_as_wrong`; see
            `eztorch.datasets.reading.read_item`.

    Attributes:
        labels: Class of every image, shape (N,).
        stand_ins: Indices of the images that may stand in for one that cannot be read, all of them at first.

    Raises:
        ConfigError: `on_error` is something else.
    """

    def __init__(
        self,
        images: ImageSource,
        *,
        transform: Callable[[Sample], Sample] | None = None,
        training: bool = False,
        on_error: str = "skip",
    ) -> None:
        self.images = images
        self.transform = transform
        self.training = training
        self.on_error = check_on_error(on_error)
        self.stand_ins: Indices = range(len(images.labels))

    @property
    def labels(self) -> NDArray[np.int64]:  # noqa: D102  # described above
        return self.images.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels, empty where they have none."""
        return self.images.classes

    def name(self, index: int) -> str:
        """Return what messages call an image, its path where it has one."""
        return self.images.name(index)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images.labels)

    def __getitem__(self, address: SampleAddress | int) -> Item:
        """Read an image.

        Args:
            address: Epoch and index of the image; an index alone means epoch 0.

        Raises:
            ReadError: The image cannot be read and `on_error` is `raise`, or too many in a row cannot.
            RuntimeError: The transform failed; the message names the image.
        """
        return read_item(
            self._read,
            address,
            self.stand_ins,
            label=lambda index: int(self.labels[index]),
            training=self.training,
            on_error=self.on_error,
        )

    def _read(self, index: int, address: tuple[int, ...]) -> list[Sample]:
        image = self.images.read(index)
        sample = {"input": image, "label": int(self.labels[index]), "idx": index}
        if self.transform is None:
            return [sample]
        with blaming(self.name(index), "it was transformed"), addressed_randomness(*address):
            return [self.transform(sample)]


class DictDataset(ImageDataset):
    """A data set of pairs of an image and a label, such as torchvision's, with samples that are mappings.

    Args:
        dataset: See `eztorch.datasets.image_sources.ImagePairs`.
        transform: As for all arguments below, see `ImageDataset`.
        training: Whether another image may stand in for one that cannot be read.
        on_error: What happens when an image cannot be read.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        transform: Callable[[Sample], Sample] | None = None,
        training: bool = False,
        on_error: str = "skip",
    ) -> None:
        super().__init__(ImagePairs(dataset), transform=transform, training=training, on_error=on_error)


class ImageFolder(ImageDataset):
    """The images of `root/<class>/`; see `eztorch.datasets.image_folder.list_images`.

    Args:
        root: The folder.
        classes: Names of the classes in the order of their labels; by default the folders that there are.
        transform: As for all arguments below, see `ImageDataset`.
        training: Whether another image may stand in for one that cannot be read.
        on_error: What happens when an image cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        classes: Sequence[str] = (),
        transform: Callable[[Sample], Sample] | None = None,
        training: bool = False,
        on_error: str = "skip",
    ) -> None:
        super().__init__(list_images(root, classes), transform=transform, training=training, on_error=on_error)
