"""STL-10 (Coates et al. 2011): 96 x 96, 5,000 training, 8,000 test and 100,000 unlabelled images.

https://cs.stanford.edu/~acoates/stl10/
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eztorch.datasets.image_choices import ImageChain, ImageChoice
from eztorch.datasets.image_sources import ImageArray, ImageSource
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose

FOLDER = "stl10_binary"
SPLITS = {name: tuple(name.split("+")) for name in ("train", "test", "unlabeled", "train+unlabeled")}
NUM_CLASSES, NUM_FOLDS = 10, 10


def read_stl10(root: str | Path, split: str, *, fold: int | None = None) -> ImageSource:
    """Read the binary files of STL-10; they are mapped into memory, not read whole.

    Args:
        root: Folder that has `stl10_binary` in it, or is it.
        split: `train`, `test`, `unlabeled` (every label is -1) or `train+unlabeled`.
        fold: Number of one of the 10 official folds, 0 to 9: its 1,000 images of the training set alone; None for all.

    Raises:
        ConfigError: An unknown split, or a fold that there is not.
        DataError: A file is missing or damaged.
    """
    parts = choose(SPLITS, split, "split of STL-10")
    if fold is not None and (parts[0] != "train" or not 0 <= fold < NUM_FOLDS):
        raise ConfigError(f"folds={fold} of the split {split!r}: the training images have the folds 0 to 9.")
    folder = Path(root) / FOLDER if (Path(root) / FOLDER).is_dir() else Path(root)
    names = folder / "class_names.txt"
    classes = names.read_text().split() if names.is_file() else ()
    sources: list[ImageSource] = []
    for part in parts:
        images = _images(folder / f"{part}_X.bin")
        source: ImageSource = ImageArray(images, _labels(folder, part, len(images)), classes, f"{folder / part}_X.bin")
        if part == "train" and fold is not None:
            source = ImageChoice(source, _fold(folder / "fold_indices.txt", fold, len(images)))
        sources.append(source)
    return sources[0] if len(sources) == 1 else ImageChain(sources)


def has_stl10(root: str | Path) -> bool:
    """Say whether `read_stl10` would find the data set; whether its files are whole is another question."""
    return any((Path(root) / folder / "train_X.bin").is_file() for folder in (FOLDER, ""))


def _images(path: Path) -> NDArray[np.uint8]:
    """Map the images of a file; it has them column by column, so height and width change places."""
    _check(path, 3 * 96 * 96)
    mapped = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, 3, 96, 96)
    images: NDArray[np.uint8] = mapped.transpose(0, 1, 3, 2)
    return images


def _labels(folder: Path, part: str, count: int) -> NDArray[np.int64]:
    if part == "unlabeled":
        return np.full(count, -1)
    path = folder / f"{part}_y.bin"
    _check(path, 1)
    labels = np.fromfile(path, dtype=np.uint8).astype(np.int64) - 1
    if len(labels) != count or labels.min() < 0 or labels.max() >= NUM_CLASSES:
        raise DataError(f"{path}: expected {count} labels from 1 to {NUM_CLASSES}; there are {len(labels)}.")
    return labels


def _fold(path: Path, fold: int, count: int) -> NDArray[np.int64]:
    """Return the numbers of the images of a fold, one line of the file."""
    _check(path, 1)
    lines = path.read_text().splitlines()
    if len(lines) < NUM_FOLDS:
        raise DataError(f"{path}: {len(lines)} lines; expected {NUM_FOLDS}, one a fold.")
    try:
        indices = np.array(lines[fold].split(), dtype=np.int64)
    except ValueError as error:
        raise DataError(f"{path}, line {fold + 1}: {error}") from error
    if not len(indices) or indices.min() < 0 or indices.max() >= count:
        raise DataError(f"{path}, line {fold + 1}: expected numbers from 0 to {count - 1}.")
    return indices


def _check(path: Path, size: int) -> None:
    """Refuse a file that is missing, or is no whole number of records of a size in bytes."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of STL-10. With download: true it is fetched.")
    if not path.stat().st_size or path.stat().st_size % size:
        raise DataError(f"{path}: {path.stat().st_size} bytes are not a whole number of records of {size} bytes.")
