"""Image files in folders of classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from eztorch.datasets.image_sources import ImageFiles
from eztorch.utils.errors import DataError

IMAGE_EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def list_images(folder: str | Path, classes: Sequence[str] = (), *, ignore_others: bool = False) -> ImageFiles:
    """List the images of `folder/<class>/`, at any depth below the folder of a class.

    The labels are the classes in alphabetical order; inside a class the files are in the order of their paths.

    Args:
        folder: The folder.
        classes: Names of the classes in the order of their labels; by default the folders that there are.
        ignore_others: Whether folders that are not among `classes` are left out; they are an error otherwise.

    Raises:
        DataError: There is no such folder, no class folder, a folder that is no class, or a class without an image.
    """
    root = Path(folder)
    found = class_folders(root)
    names = tuple(classes) or found
    others = sorted(set(found) - set(names))
    if others and not ignore_others:
        raise DataError(
            f"{root}: the class folder(s) {_some(others)} are not among the {len(names)} classes of the training set."
        )
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        if name in found:
            files = list(_images(root / name, name, set()))
            if not files:
                raise DataError(f"{root / name}: there is no image ({' '.join(IMAGE_EXTENSIONS)}) in this folder.")
            paths += files
            labels += [label] * len(files)
    return ImageFiles(root, paths, labels, names)


def class_folders(folder: str | Path) -> tuple[str, ...]:
    """Return the names of the folders in a folder, in alphabetical order.

    Raises:
        DataError: There is no such folder, or none in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; expected <class>/<image> in it.")
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    if not names:
        raise DataError(f"{root}: there is no class folder in it; expected <class>/<image>.")
    return tuple(names)


def is_image(name: str) -> bool:
    """Say whether a file name is that of an image; hidden files are none."""
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith(".")


def _images(folder: Path, relative: str, seen: set[str]) -> Iterator[str]:
    """Give the images below a folder, links followed, no folder twice: a link may lead back up."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir() and not entry.name.startswith("."):
                yield from _images(folder / entry.name, f"{relative}/{entry.name}", seen)
            elif is_image(entry.name):
                yield f"{relative}/{entry.name}"


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
