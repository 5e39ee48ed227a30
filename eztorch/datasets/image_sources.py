"""Where labelled images come from: files, an array, any data set of pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from eztorch.datasets.decoders.errors import brief
from eztorch.datasets.decoders.pictures import as_rgb, decode_picture
from eztorch.datasets.failures import ReadError
from eztorch.utils.errors import DataError


class ImageSource(Protocol):
    """Labelled images that are read one by one.

    Attributes:
        labels: Class of every image, shape (N,), -1 for none; known without reading an image.
        classes: Names of the classes in the order of their labels, empty where they have none.
    """

    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102  # described above

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    def read(self, index: int) -> Tensor:
        """Return an image, uint8, shape (C, H, W).

        Raises:
            ReadError: It cannot be read.
        """

    def name(self, index: int) -> str:
        """Return what messages call an image."""


class ImageArray:
    """Images that are in memory, or in a mapped file.

    Args:
        images: uint8, shape (N, C, H, W); any strides.
        labels: Shape (N,).
        classes: Names of the classes.
        source: What messages call it.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: ArrayLike, classes: Sequence[str] = (), source: str = "images"
    ) -> None:
        self.images = images
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)
        self._source = source
        if images.ndim != 4 or images.dtype != np.uint8 or len(images) != len(self.labels):
            raise DataError(
                f"{source}: {images.dtype} images of shape {images.shape} with {len(self.labels)} labels; expected "
                "uint8 images of shape (N, C, H, W) and N labels."
            )

    def read(self, index: int) -> Tensor:
        """Return a copy of an image; see `ImageSource`."""
        return torch.from_numpy(np.array(self.images[index], order="C"))

    def name(self, index: int) -> str:
        """Return what messages call an image."""
        return f"{self._source}[{index}]"


class ImageFiles:
    """Image files.

    Args:
        root: Folder that the paths start from.
        paths: The files, relative to it.
        labels: Shape (N,).
        classes: Names of the classes.
    """

    def __init__(self, root: str | Path, paths: Sequence[str], labels: ArrayLike, classes: Sequence[str] = ()) -> None:
        self.root = str(root)
        # One array of bytes, which the processes of a loader share; a list of a million strings is copied to each.
        self._paths = np.array([os.fsencode(path) for path in paths])
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(classes)

    def read(self, index: int) -> Tensor:
        """Read an image; see `ImageSource`."""
        return read_image(self.name(index))

    def name(self, index: int) -> str:
        """Return the path of an image."""
        return os.path.join(self.root, os.fsdecode(self._paths[index]))


class ImagePairs:
    """A data set whose items are pairs of an image and a label, as those of torchvision are.

    Args:
        dataset: Its images are PIL images, arrays of shape (H, W, C) or (H, W), or tensors of shape (C, H, W); uint8.
            It has its labels in `targets`, `labels` or `_labels`.

    Raises:
        DataError: It has no list of its labels.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        names = ("targets", "labels", "_labels")
        labels = next((getattr(dataset, name) for name in names if getattr(dataset, name, None) is not None), None)
        if labels is None:
            raise DataError(
                f"{type(dataset).__name__} has none of {', '.join(names)}, so the labels are not known without reading "
                "its images."
            )
        self.labels: NDArray[np.int64] = np.asarray(labels, dtype=np.int64)
        self.classes = tuple(str(name) for name in getattr(dataset, "classes", ()))

    def read(self, index: int) -> Tensor:
        """Read an image; see `ImageSource`."""
        try:
            return to_tensor(self.dataset[index][0])
        except (OSError, RuntimeError, SyntaxError, ValueError) as error:
            raise ReadError(self.name(index), type(self.dataset).__name__, brief(error)) from error

    def name(self, index: int) -> str:
        """Return what messages call an image."""
        return f"{type(self.dataset).__name__}[{index}]"


def read_image(path: str) -> Tensor:
    """Read an image file as RGB, the pixels as they are stored: an orientation in its metadata is not applied.

    Args:
        path: The file, of any format that Pillow reads.

    Returns:
        uint8, shape (3, H, W).

    Raises:
        ReadError: It is missing, damaged or no image.
    """
    try:
        return decode_picture(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ReadError(path, "image", brief(error)) from error


def to_tensor(image: Any) -> Tensor:
    """Return an image, uint8, shape (C, H, W), grey repeated to three channels.

    Args:
        image: PIL image, array of shape (H, W, C) or (H, W), or tensor of shape (C, H, W).

    Raises:
        DataError: It is none of them, or not uint8.
    """
    if isinstance(image, Image.Image):
        image = np.array(as_rgb(image))
    if isinstance(image, np.ndarray):
        array = torch.from_numpy(image)
        image = array.permute(2, 0, 1).contiguous() if image.ndim == 3 else array[None]
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3:
        found = f"a {image.dtype} tensor of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image)
        raise DataError(f"An image is {found}; expected uint8 with channels, height and width.")
    return image.expand(3, -1, -1).contiguous() if image.shape[0] == 1 else image
