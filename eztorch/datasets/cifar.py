"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the official files, python or binary, or pictures in folders of classes.

https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eztorch.datasets.image_dataset import ImageDataset
from eztorch.datasets.image_folder import list_images
from eztorch.datasets.image_sources import ImageArray, ImageSource
from eztorch.datasets.reading import Sample
from eztorch.utils.errors import DataError

_IMAGE = (3, 32, 32)


class _Edition(NamedTuple):
    """The files of one of the two data sets."""

    name: str
    python: tuple[str, tuple[str, ...], tuple[str, ...], str]  # folder, training files, test files, file of the names
    binary: tuple[str, tuple[str, ...], tuple[str, ...], str]
    labels: str  # key of the labels in the python files
    names: str  # key of the names of the classes
    label_bytes: int  # before each image of the binary files; the label is the last


_EDITIONS = {
    10: _Edition(
        "CIFAR-10",
        ("cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",), "batches.meta"),
        (
            "cifar-10-batches-bin",
            tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            ("test_batch.bin",),
            "batches.meta.txt",
        ),
        "labels",
        "label_names",
        1,
    ),
    100: _Edition(
        "CIFAR-100",
        ("cifar-100-python", ("train",), ("test",), "meta"),
        ("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt"),
        "fine_labels",
        "fine_label_names",
        2,
    ),
}


def read_cifar(root: str | Path, num_classes: int, *, train: bool) -> ImageSource:
    """Read CIFAR-10 or CIFAR-100.

    Args:
        root: Folder that has the official folder in it (`cifar-10-batches-py`, `cifar-10-batches-bin`,
            `cifar-100-python` or `cifar-100-binary`), or is it; or that has pictures, `train/<class>/<image>` and
            `test/<class>/<image>`.
        num_classes: 10 or 100; of CIFAR-100 the fine classes are read.
        train: Whether the training or the test images are meant.

    Raises:
        DataError: None of them is there, or a file is damaged.
    """
    edition, root = _EDITIONS[num_classes], Path(root)
    for (folder, training, testing, names), read, read_names in (
        (edition.python, _read_python, _names_of_python),
        (edition.binary, _read_binary, _names_of_binary),
    ):
        files = training if train else testing
        for place in (root / folder, root):
            if all((place / file).is_file() for file in files):
                parts = [read(place / file, edition) for file in files]
                images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
                _check_labels(labels, num_classes, place)
                return ImageArray(images, labels, read_names(place / names, edition), f"{place}, {files[0]}")
    if (root / "train").is_dir():
        source = list_images(root / ("train" if train else "test"))
        if len(source.classes) != num_classes:
            raise DataError(f"{root}: there are {len(source.classes)} class folders; {edition.name} has {num_classes}.")
        return source
    raise DataError(_not_found(root, edition))


def has_cifar(root: str | Path, num_classes: int) -> bool:
    """Say whether `read_cifar` would find the data set; whether its files are whole is another question."""
    edition, root = _EDITIONS[num_classes], Path(root)
    places = [(place, files[1]) for files in (edition.python, edition.binary) for place in (root / files[0], root)]
    return (root / "train").is_dir() or any((place / file).is_file() for place, training in places for file in training)


def DictCIFAR10(
    root: str | Path,
    train: bool = True,
    *,
    transform: Callable[[Sample], Sample] | None = None,
    training: bool = False,
) -> ImageDataset:
    """Return CIFAR-10 as a data set of mappings; see `read_cifar` and `ImageDataset`."""
    return ImageDataset(read_cifar(root, 10, train=train), transform=transform, training=training)


def DictCIFAR100(
    root: str | Path,
    train: bool = True,
    *,
    transform: Callable[[Sample], Sample] | None = None,
    training: bool = False,
) -> ImageDataset:
    """Return CIFAR-100 with its fine labels as a data set of mappings; see `read_cifar` and `ImageDataset`."""
    return ImageDataset(read_cifar(root, 100, train=train), transform=transform, training=training)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles what the official files hold, numpy arrays in plain containers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")):
            return super().find_class(module, name)
        if (module, name) in (
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.numeric", "_frombuffer"),
        ):
            owner: Any = np.empty(0).__reduce__()[0] if name == "_reconstruct" else np.empty(0).__reduce_ex__(5)[0]
            return owner
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which no file of CIFAR does")


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, OSError) as error:
        raise DataError(f"{path}: it cannot be read as a python file of CIFAR: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: it holds a {type(content).__name__}, where the files of CIFAR hold a dict.")
    return content


def _read_python(path: Path, edition: _Edition) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _unpickle(path)
    try:
        data, labels = np.asarray(content["data"]), content[edition.labels]
        return data.astype(np.uint8, copy=False).reshape(-1, *_IMAGE), np.asarray(labels, dtype=np.int64)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: expected the keys data and {edition.labels}, rows of 3072 values: {error}") from error


def _names_of_python(path: Path, edition: _Edition) -> Sequence[str]:
    return _unpickle(path).get(edition.names, ()) if path.is_file() else ()


def _read_binary(path: Path, edition: _Edition) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    size = edition.label_bytes + int(np.prod(_IMAGE))
    content = np.fromfile(path, dtype=np.uint8)
    if not len(content) or len(content) % size:
        raise DataError(f"{path}: {len(content)} bytes are not a whole number of records of {size} bytes.")
    records = content.reshape(-1, size)
    images = records[:, edition.label_bytes :].reshape(-1, *_IMAGE)
    return images, records[:, edition.label_bytes - 1].astype(np.int64)


def _names_of_binary(path: Path, edition: _Edition) -> Sequence[str]:
    return path.read_text().split() if path.is_file() else ()


def _check_labels(labels: NDArray[np.int64], num_classes: int, place: Path) -> None:
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{place}: labels from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}.")


def _not_found(root: Path, edition: _Edition) -> str:
    archives = sorted(path.name for path in root.glob("cifar-*.tar.gz"))
    hint = f" There is {archives[0]}: unpack it." if archives else " With download: true it is downloaded."
    return (
        f"{root}: {edition.name} is not there; expected the folder {edition.python[0]} or {edition.binary[0]}, or "
        f"pictures in train/<class>/ and test/<class>/.{hint}"
    )
