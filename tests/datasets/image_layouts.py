"""Tiny trees in the official layouts of the image data sets, made of what the tests say is in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pictures(number: int, size: int, seed: int) -> np.ndarray:
    """Noise, uint8, shape (N, 3, size, size)."""
    return np.random.default_rng(seed).integers(0, 256, (number, 3, size, size), dtype=np.uint8)


def cifar_split(number: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split; the classes take turns."""
    return pictures(number, 32, seed), np.arange(number) % num_classes


def write_cifar10_python(root: Path, per_batch: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Write cifar-10-batches-py as the official files are, python 2 keys included; return the training split."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images, labels = cifar_split(5 * per_batch, 10, seed=0)
    for batch in range(5):
        part = slice(batch * per_batch, (batch + 1) * per_batch)
        dump(folder / f"data_batch_{batch + 1}", images[part], labels=labels[part].tolist())
    test_images, test_labels = cifar_split(6, 10, seed=1)
    dump(folder / "test_batch", test_images, labels=test_labels.tolist())
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10_NAMES)}, protocol=2))
    return images, labels


def write_cifar10_binary(root: Path, per_batch: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Write cifar-10-batches-bin: a byte for the label, 3072 for the image."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    images, labels = cifar_split(5 * per_batch, 10, seed=0)
    for batch in range(5):
        part = slice(batch * per_batch, (batch + 1) * per_batch)
        records(folder / f"data_batch_{batch + 1}.bin", images[part], labels[part, None])
    test_images, test_labels = cifar_split(6, 10, seed=1)
    records(folder / "test_batch.bin", test_images, test_labels[:, None])
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
    return images, labels


def write_cifar100_python(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write cifar-100-python with fine and coarse labels."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, number, seed in (("train", 200, 0), ("test", 100, 1)):
        images, labels = cifar_split(number, 100, seed)
        dump(folder / name, images, fine_labels=labels.tolist(), coarse_labels=(labels // 5).tolist())
    names = {"fine_label_names": [f"fine{i}" for i in range(100)], "coarse_label_names": [f"c{i}" for i in range(20)]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))
    return cifar_split(200, 100, seed=0)


def write_cifar100_binary(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write cifar-100-binary: a byte for the coarse and one for the fine label, 3072 for the image."""
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name, number, seed in (("train", 200, 0), ("test", 100, 1)):
        images, labels = cifar_split(number, 100, seed)
        records(folder / f"{name}.bin", images, np.stack([labels // 5, labels], axis=1))
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{i}" for i in range(100)) + "\n")
    return cifar_split(200, 100, seed=0)


def write_stl10(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write stl10_binary: images column by column, labels from 1; return every split with labels from 0."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    splits = {}
    for seed, (name, number) in enumerate({"train": 20, "test": 8, "unlabeled": 5}.items()):
        images, labels = pictures(number, 96, seed), np.arange(number) % 10
        images.transpose(0, 1, 3, 2).tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (labels + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
        splits[name] = images, labels if name != "unlabeled" else np.full(number, -1)
    folds = "\n".join(" ".join(str((fold + i) % 20) for i in range(3)) for fold in range(10))
    (folder / "fold_indices.txt").write_text(f"{folds}\n")
    (folder / "class_names.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n")
    return splits


def write_tiny_imagenet(root: Path, num_classes: int = 200, size: int = 8) -> list[str]:
    """Write tiny-imagenet-200 with one image a class and split, wnids.txt out of order; return the sorted wnids."""
    folder = root / "tiny-imagenet-200"
    wnids = [f"n{i:08d}" for i in range(num_classes)]
    lines = []
    for label, wnid in enumerate(wnids):
        flat = np.full((size, size, 3), label, dtype=np.uint8)
        save(folder / "train" / wnid / "images" / f"{wnid}_0.JPEG", flat)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t7\t7\n")
        name = f"val_{num_classes - 1 - label}.JPEG"
        save(folder / "val" / "images" / name, flat)
        lines.append(f"{name}\t{wnid}\t0\t0\t7\t7\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    (folder / "wnids.txt").write_text("\n".join(reversed(wnids)) + "\n")
    save(folder / "test" / "images" / "test_0.JPEG", np.zeros((size, size, 3), dtype=np.uint8))
    return wnids


def write_folders(root: Path, classes: list[str], per_class: int = 1, size: int = 8) -> Path:
    """Write <class>/<number>.png, each image of one value: ten times its class plus its number."""
    for label, name in enumerate(classes):
        for number in range(per_class):
            value = (10 * label + number) % 256
            save(root / name / f"{number:04d}.png", np.full((size, size, 3), value, dtype=np.uint8))
    return root


def save(path: Path, picture: np.ndarray) -> None:
    """Write a picture, shape (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def dump(path: Path, images: np.ndarray, **labels: list[int]) -> None:
    """Write a python file of CIFAR."""
    content = {"data": images.reshape(len(images), -1), "batch_label": "a batch", **labels}
    path.write_bytes(pickle.dumps(content, protocol=2))


def records(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a binary file of CIFAR, labels of shape (N, bytes)."""
    np.concatenate([labels.astype(np.uint8), images.reshape(len(images), -1)], axis=1).tofile(path)
