"""The official files of CIFAR, STL-10 and Tiny-ImageNet, on tiny trees in their layouts."""

import pickle

import numpy as np
import pytest
import torch

from eztorch.datasets import DictCIFAR10, DictCIFAR100
from eztorch.datasets.cifar import has_cifar, read_cifar
from eztorch.datasets.imagenet100 import IMAGENET100_CLASSES
from eztorch.datasets.stl10 import has_stl10, read_stl10
from eztorch.datasets.tiny_imagenet import read_tiny_imagenet
from eztorch.utils.errors import ConfigError, DataError

from . import image_layouts as layouts


def read_all(source):
    return torch.stack([source.read(index) for index in range(len(source.labels))]).numpy()


@pytest.mark.parametrize("write", [layouts.write_cifar10_python, layouts.write_cifar10_binary])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar10__official_files_are_read(write, inside, tmp_path):
    images, labels = write(tmp_path)
    root = next(tmp_path.iterdir()) if inside else tmp_path
    assert has_cifar(root, 10)
    assert not has_cifar(root, 100)
    source = read_cifar(root, 10, train=True)
    assert np.array_equal(read_all(source), images)
    assert source.labels.tolist() == labels.tolist()
    assert source.classes == layouts.CIFAR10_NAMES
    test = read_cifar(root, 10, train=False)
    assert np.array_equal(read_all(test), layouts.cifar_split(6, 10, seed=1)[0])


@pytest.mark.parametrize("write", [layouts.write_cifar100_python, layouts.write_cifar100_binary])
def test_cifar100__has_its_fine_labels(write, tmp_path):
    images, labels = write(tmp_path)
    source = read_cifar(tmp_path, 100, train=True)
    assert np.array_equal(read_all(source), images)
    assert source.labels.tolist() == labels.tolist()
    assert source.classes[:2] == ("fine0", "fine1")
    assert len(read_cifar(tmp_path, 100, train=False).labels) == 100


def test_cifar__is_what_torchvision_reads(tmp_path, monkeypatch):
    from torchvision import datasets

    layouts.write_cifar10_python(tmp_path)
    layouts.write_cifar100_python(tmp_path)
    for name, ours in (("CIFAR10", DictCIFAR10), ("CIFAR100", DictCIFAR100)):
        kind = getattr(datasets, name)
        monkeypatch.setattr(kind, "_check_integrity", lambda self: True)  # its checksums are of the real files
        monkeypatch.setattr(kind, "_load_meta", lambda self: None)
        for train in (True, False):
            theirs, dataset = kind(tmp_path, train=train), ours(tmp_path, train)
            assert len(theirs) == len(dataset)
            for index in (0, 5, len(theirs) - 1):
                sample, (picture, label) = dataset[index], theirs[index]
                assert np.array_equal(sample["input"].permute(1, 2, 0), np.asarray(picture))
                assert (sample["label"], sample["idx"]) == (label, index)


def test_cifar__may_be_pictures_in_folders(cifar_tree):
    source = read_cifar(cifar_tree, 10, train=True)
    assert len(source.labels) == 20
    assert source.read(3).shape == (3, 32, 32)
    assert read_cifar(cifar_tree, 10, train=False).classes == source.classes
    with pytest.raises(DataError, match="there are 10 class folders; CIFAR-100 has 100"):
        read_cifar(cifar_tree, 100, train=True)


def test_cifar__that_is_missing_is_an_error_that_says_what_is_expected(tmp_path):
    with pytest.raises(
        DataError, match=r"CIFAR-10 is not there; expected the folder cifar-10-batches-py.*download: true"
    ):
        read_cifar(tmp_path, 10, train=True)
    (tmp_path / "cifar-100-python.tar.gz").touch()
    with pytest.raises(DataError, match=r"There is cifar-100-python\.tar\.gz: unpack it"):
        read_cifar(tmp_path, 100, train=True)


def test_cifar__files_of_old_numpy_are_read(tmp_path):
    images, _ = layouts.write_cifar10_python(tmp_path)
    for file in (tmp_path / "cifar-10-batches-py").iterdir():
        file.write_bytes(file.read_bytes().replace(b"numpy._core.", b"numpy.core."))
    assert b"cnumpy.core.multiarray" in (tmp_path / "cifar-10-batches-py/data_batch_1").read_bytes()
    assert np.array_equal(read_all(read_cifar(tmp_path, 10, train=True)), images)


class Harmful:
    def __reduce__(self):
        return print, ("this would have run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Harmful()), r"it holds builtins\.print"),
        (b"not a pickle", "cannot be read as a python file"),
        (pickle.dumps([1, 2]), "it holds a list"),
        (pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}), "rows of 3072 values"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8)}), "expected the keys data and labels"),
    ],
)
def test_cifar__damaged_and_harmful_python_files_are_errors(content, message, tmp_path, capsys):
    layouts.write_cifar10_python(tmp_path)
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_cifar(tmp_path, 10, train=False)
    assert "would have run" not in capsys.readouterr().out


def test_cifar__damaged_binary_files_are_errors(tmp_path):
    layouts.write_cifar10_binary(tmp_path)
    file = tmp_path / "cifar-10-batches-bin/test_batch.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch\.bin: 18437 bytes are not a whole number of records of 3073"):
        read_cifar(tmp_path, 10, train=False)
    file.write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(DataError, match="labels from 10 to 10; expected 0 to 9"):
        read_cifar(tmp_path, 10, train=False)


def test_stl10__official_files_are_read(tmp_path):
    splits = layouts.write_stl10(tmp_path)
    assert has_stl10(tmp_path)
    for root in (tmp_path, tmp_path / "stl10_binary"):
        for name, (images, labels) in splits.items():
            source = read_stl10(root, name)
            assert np.array_equal(read_all(source), images)
            assert source.labels.tolist() == labels.tolist()
    both = read_stl10(tmp_path, "train+unlabeled")
    assert both.labels.tolist() == [*splits["train"][1], *splits["unlabeled"][1]]
    assert np.array_equal(both.read(22), splits["unlabeled"][0][2])
    assert both.classes[3] == "class3"


def test_stl10__folds_are_the_lines_of_the_official_list(tmp_path):
    images, labels = layouts.write_stl10(tmp_path)["train"]
    source = read_stl10(tmp_path, "train", fold=4)
    assert source.labels.tolist() == labels[[4, 5, 6]].tolist()
    assert np.array_equal(read_all(source), images[[4, 5, 6]])
    assert len(read_stl10(tmp_path, "train+unlabeled", fold=4).labels) == 8
    for split, fold in (("unlabeled", 0), ("test", 0), ("train", 10)):
        with pytest.raises(ConfigError, match="the training images have the folds 0 to 9"):
            read_stl10(tmp_path, split, fold=fold)


def test_stl10__errors_name_the_file(tmp_path):
    layouts.write_stl10(tmp_path)
    folder = tmp_path / "stl10_binary"
    with pytest.raises(ConfigError, match="split of STL-10='valid' is not known"):
        read_stl10(tmp_path, "valid")
    (folder / "fold_indices.txt").write_text("0 1 2\n" * 9 + "0 99\n")
    with pytest.raises(DataError, match=r"fold_indices\.txt, line 10: expected numbers from 0 to 19"):
        read_stl10(tmp_path, "train", fold=9)
    (folder / "fold_indices.txt").write_text("0 1 2\n")
    with pytest.raises(DataError, match=r"fold_indices\.txt: 1 lines; expected 10"):
        read_stl10(tmp_path, "train", fold=0)
    (folder / "test_y.bin").write_bytes(bytes([0] * 8))
    with pytest.raises(DataError, match=r"test_y\.bin: expected 8 labels from 1 to 10"):
        read_stl10(tmp_path, "test")
    (folder / "test_X.bin").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"test_X\.bin: 100 bytes are not a whole number of records"):
        read_stl10(tmp_path, "test")
    (folder / "unlabeled_X.bin").unlink()
    with pytest.raises(DataError, match=r"unlabeled_X\.bin: there is no such file of STL-10"):
        read_stl10(tmp_path, "unlabeled")


def test_tiny_imagenet__official_layout_is_read(tmp_path):
    wnids = layouts.write_tiny_imagenet(tmp_path, num_classes=4)
    train, val = read_tiny_imagenet(tmp_path, "train"), read_tiny_imagenet(tmp_path / "tiny-imagenet-200", "val")
    assert train.classes == val.classes == tuple(wnids)
    assert train.labels.tolist() == [0, 1, 2, 3]
    assert val.labels.tolist() == [3, 2, 1, 0]
    for source in (train, val):
        for index, label in enumerate(source.labels):
            assert abs(source.read(index).float().mean() - label) < 1.5


def test_tiny_imagenet__validation_may_be_in_class_folders(tmp_path):
    wnids = layouts.write_tiny_imagenet(tmp_path, num_classes=3)
    folder = tmp_path / "tiny-imagenet-200/val"
    (folder / "val_annotations.txt").unlink()
    for file in (folder / "images").iterdir():
        file.unlink()
    (folder / "images").rmdir()
    layouts.write_folders(folder, wnids)
    assert read_tiny_imagenet(tmp_path, "val").labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("line", ["val_0.JPEG n00000000 0 0 1 1", "val_0.JPEG\tn99999999\t0\t0\t1\t1"])
def test_tiny_imagenet__wrong_annotations_are_errors_with_their_line(line, tmp_path):
    layouts.write_tiny_imagenet(tmp_path, num_classes=2)
    file = tmp_path / "tiny-imagenet-200/val/val_annotations.txt"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"val_annotations\.txt, line 3 .*expected '<image> <wnid> <box>'"):
        read_tiny_imagenet(tmp_path, "val")


def test_imagenet100__has_a_hundred_sorted_wnids():
    assert len(set(IMAGENET100_CLASSES)) == 100
    assert list(IMAGENET100_CLASSES) == sorted(IMAGENET100_CLASSES)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in IMAGENET100_CLASSES)
