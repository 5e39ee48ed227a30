"""Tiny-ImageNet (Stanford CS231n): 200 classes, 64 x 64, 500 training and 50 validation images each.

http://cs231n.stanford.edu/tiny-imagenet-200.zip
"""

from __future__ import annotations

from pathlib import Path

from eztorch.datasets.image_folder import class_folders, list_images
from eztorch.datasets.image_sources import ImageFiles
from eztorch.utils.errors import DataError

ANNOTATIONS = "val_annotations.txt"


def read_tiny_imagenet(root: str | Path, split: str) -> ImageFiles:
    """List the images of Tiny-ImageNet; the labels are the sorted class folders of `train`.

    Args:
        root: Folder `tiny-imagenet-200`, or the folder that it is in.
        split: `train` (`train/<wnid>/images/*.JPEG`) or `val` (`val/images/*.JPEG` with `val/val_annotations.txt`, or
            class folders, as many scripts leave it).

    Raises:
        DataError: The folder or an annotation cannot be used.
    """
    folder = Path(root) / "tiny-imagenet-200"
    folder = folder if folder.is_dir() else Path(root)
    classes = class_folders(folder / "train")
    annotations = folder / "val" / ANNOTATIONS
    if split == "train" or not annotations.is_file():
        return list_images(folder / split, classes)
    label_of = {name: label for label, name in enumerate(classes)}
    paths, labels = [], []
    for number, line in enumerate(annotations.read_text().splitlines(), start=1):
        columns = line.split("\t")
        if len(columns) < 2 or columns[1] not in label_of:
            raise DataError(
                f"{annotations}, line {number} ({line!r}): expected '<image> <wnid> <box>', separated by tabs, with a "
                "wnid of the training set."
            )
        paths.append(f"images/{columns[0]}")
        labels.append(label_of[columns[1]])
    if not paths:
        raise DataError(f"{annotations}: the file is empty.")
    return ImageFiles(folder / "val", paths, labels, classes)
