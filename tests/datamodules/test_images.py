"""Datamodules of images: their splits, and resident images against the loader's workers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eztorch.datamodules import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    FolderDataModule,
    ImageDataModule,
    Imagenet100DataModule,
    ImagenetDataModule,
    STL10DataModule,
    TinyImagenetDataModule,
)
from eztorch.datasets.imagenet100 import IMAGENET100_CLASSES
from eztorch.utils.errors import ConfigError, DataError

from ..datasets import image_layouts as layouts
from . import image_recorder

ALL = {split: {"global_batch_size": 4} for split in ("train", "val", "test")}


def labels(datamodule, split):
    return datamodule.dataset(split).labels.tolist()


def first_images(datamodule, split, number=3):
    dataset = datamodule.dataset(split)
    return [dataset[index]["input"].numpy() for index in range(number)]


# Data sets


@pytest.mark.parametrize("resident", [False, True])
def test_cifar10__validates_and_tests_on_the_official_test_images(resident, tmp_path):
    images, _ = layouts.write_cifar10_python(tmp_path)
    datamodule = CIFAR10DataModule(tmp_path, **ALL, resident=resident)
    datamodule.setup()
    assert datamodule.num_classes == 10
    assert [datamodule.num_samples(split) for split in ALL] == [20, 6, 6]
    assert all(np.array_equal(*pair) for pair in zip(first_images(datamodule, "train"), images, strict=False))
    batch = next(iter(datamodule.test_dataloader()))
    assert np.array_equal(batch["input"], layouts.cifar_split(6, 10, seed=1)[0][:4])


def test_cifar__parts_its_training_images_and_keeps_classes(tmp_path):
    layouts.write_cifar100_python(tmp_path)
    datamodule = CIFAR100DataModule(tmp_path, **ALL, split_train_ratio=0.5, num_classes_kept=7)
    assert datamodule.num_classes == 7
    assert sorted(labels(datamodule, "train")) == sorted(labels(datamodule, "val")) == list(range(7))
    assert labels(datamodule, "test") == list(range(7))
    sources = [datamodule.dataset(split).images for split in ("train", "val")]
    names = [{source.name(index) for index in range(7)} for source in sources]
    assert not names[0] & names[1]
    again = CIFAR100DataModule(tmp_path, **ALL, split_train_ratio=0.5, num_classes_kept=7, seed_for_split=1)
    assert {again.dataset("train").images.name(index) for index in range(7)} != names[0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"num_classes_kept": 1}, "num_classes_kept=1; expected 2 to 10"),
        ({"num_classes_kept": 11}, "num_classes_kept=11"),
        ({"split_train_ratio": 1.0}, r"split_train_ratio=1\.0; expected a share"),
        ({"train": {"global_batch_size": 4, "on_eror": "skip"}}, "train.on_eror: unknown key. Did you mean 'on_error'"),
        (
            {"train": {"global_batch_size": 4, "transform": {"_target_": "x"}}, "resident": True},
            "train.transform: resident images have no transform of single samples; .*model.train_transform",
        ),
    ],
)
def test_cifar__errors_name_the_key(keys, message):
    with pytest.raises(ConfigError, match=message):
        CIFAR10DataModule("/data", **({"train": {"global_batch_size": 4}} | keys))


def test_download__without_network_says_where_to_fetch_it(tmp_path, monkeypatch):
    from torchvision import datasets

    for name, kind in (("CIFAR10", CIFAR10DataModule), ("STL10", STL10DataModule)):
        monkeypatch.setattr(getattr(datasets, name), "url", "http://127.0.0.1:9/archive.tar.gz")  # nothing listens
        with pytest.raises(
            DataError, match=rf"{name} cannot be fetched into .*Fetch http://127.*on a machine with net"
        ):
            kind(tmp_path / "new", train={"global_batch_size": 4}, download=True).prepare_data()
        with pytest.raises(ConfigError, match="download=true needs a folder"):
            kind(None, train={"global_batch_size": 4}, download=True).prepare_data()


def test_download__leaves_data_that_is_there_and_is_not_made_unasked(tmp_path):
    layouts.write_cifar10_binary(tmp_path)
    layouts.write_stl10(tmp_path)
    CIFAR10DataModule(tmp_path, train=ALL["train"], download=True).prepare_data()
    STL10DataModule(tmp_path, train=ALL["train"], download=True).prepare_data()
    CIFAR10DataModule(tmp_path / "nowhere", train=ALL["train"]).prepare_data()
    assert not (tmp_path / "nowhere").exists()


def test_stl10__trains_on_the_split_and_fold_that_it_is_told(tmp_path):
    splits = layouts.write_stl10(tmp_path)

    def make(**keys):
        return STL10DataModule(tmp_path, **ALL, **keys)

    assert labels(make(), "train") == [-1] * 5
    assert labels(make(training_split="train"), "train") == splits["train"][1].tolist()
    assert labels(make(training_split="train", folds=2), "train") == [2, 3, 4]
    assert len(labels(make(training_split="train+unlabeled", folds=2), "train")) == 8
    assert labels(make(), "val") == labels(make(), "test") == splits["test"][1].tolist()
    with pytest.raises(ConfigError, match=r"datamodule\.training_split='test' is not known"):
        make(training_split="test")
    for keys in ({"folds": 10, "training_split": "train"}, {"folds": 0}):
        with pytest.raises(ConfigError, match="unlabelled ones have none"):
            make(**keys)


def test_tiny_imagenet__tests_on_its_validation_images(tmp_path):
    layouts.write_tiny_imagenet(tmp_path)
    datamodule = TinyImagenetDataModule(tmp_path, **ALL)
    assert datamodule.num_classes == 200
    assert labels(datamodule, "train") == list(range(200))
    assert labels(datamodule, "val") == labels(datamodule, "test") == list(range(200))[::-1]


def test_tiny_imagenet__of_another_number_of_classes_is_an_error(tmp_path):
    layouts.write_tiny_imagenet(tmp_path, num_classes=3)
    with pytest.raises(DataError, match=r"datamodule\.train: .*there are 3 classes; Tiny-ImageNet has 200"):
        TinyImagenetDataModule(tmp_path, **ALL).setup("fit")


def test_imagenet__needs_its_thousand_classes(tmp_path):
    wnids = [f"n{i:08d}" for i in range(1000)]
    layouts.write_folders(tmp_path / "train", wnids, size=1)
    (tmp_path / "val").symlink_to(tmp_path / "train")
    datamodule = ImagenetDataModule(tmp_path, **ALL)
    assert labels(datamodule, "train") == labels(datamodule, "test") == list(range(1000))
    layouts.write_folders(tmp_path / "other", wnids[:3])
    elsewhere = {"train": {"global_batch_size": 4, "dataset": {"datadir": str(tmp_path / "other")}}}
    with pytest.raises(DataError, match=r"datamodule\.train: .*other: there are 3 class folders; ImageNet has 1000"):
        ImagenetDataModule(tmp_path, **elsewhere).setup("fit")


def test_imagenet100__chooses_its_classes_inside_the_full_set(tmp_path):
    for split in ("train", "val"):
        layouts.write_folders(tmp_path / split, [*IMAGENET100_CLASSES, "n00000001", "n99999999"], size=1)
    datamodule = Imagenet100DataModule(tmp_path, **ALL)
    assert datamodule.num_classes == 100
    assert labels(datamodule, "train") == labels(datamodule, "test") == list(range(100))
    (tmp_path / "list.txt").write_text("n99999999\nn00000001\n")
    listed = Imagenet100DataModule(tmp_path, **ALL, class_list=tmp_path / "list.txt")
    assert (listed.num_classes, listed.dataset("train").images.classes) == (2, ("n99999999", "n00000001"))
    with pytest.raises(DataError, match=r"1 of the 2 classes are not there: \['n12345678'\]"):
        Imagenet100DataModule(tmp_path, **ALL, class_list=["n99999999", "n12345678"]).setup("fit")
    with pytest.raises(ConfigError, match="2 classes, 1 of them different"):
        Imagenet100DataModule(tmp_path, **ALL, class_list=["a", "a"])
    with pytest.raises(ConfigError, match="class_list=/nowhere: No such file"):
        Imagenet100DataModule(tmp_path, **ALL, class_list="/nowhere")


def test_folder__has_the_classes_of_its_training_set(tmp_path):
    layouts.write_folders(tmp_path / "train", ["a", "b", "c"], per_class=2)
    layouts.write_folders(tmp_path / "val", ["c", "a"])
    datamodule = FolderDataModule(tmp_path, train=ALL["train"], val=ALL["val"])
    assert datamodule.num_classes == 3
    assert labels(datamodule, "train") == [0, 0, 1, 1, 2, 2]
    assert labels(datamodule, "val") == [0, 2]
    elsewhere = {"global_batch_size": 4, "dataset": {"datadir": str(tmp_path / "val")}}
    assert labels(FolderDataModule(tmp_path, train=ALL["train"], test=elsewhere), "test") == [0, 2]
    assert FolderDataModule(tmp_path, val=ALL["val"]).num_classes == 2
    assert FolderDataModule(tmp_path, val=ALL["val"], num_classes=5).num_classes == 5


def test_folder__errors_name_key_and_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"Where the train split is is not said: write dir\.data"):
        FolderDataModule(None, train=ALL["train"])
    with pytest.raises(DataError, match=r"datamodule\.datadir \(dir\.data\)=/nowhere: there is no such folder"):
        FolderDataModule("/nowhere", train=ALL["train"])
    layouts.write_folders(tmp_path / "train", ["a", "b", "c"])
    layouts.write_folders(tmp_path / "val", ["d"])
    with pytest.raises(DataError, match=r"datamodule\.val: .*val: the class folder\(s\) d are not among the 3 classes"):
        FolderDataModule(tmp_path, **ALL).setup("fit")
    with pytest.raises(DataError, match="there are 3 classes; num_classes=2"):
        FolderDataModule(tmp_path, **ALL, num_classes=2).setup("fit")
    spec = {"global_batch_size": 4, "dataset": {"datdir": "/x"}}
    with pytest.raises(ConfigError, match=r"datamodule\.test\.dataset\.datdir: unknown key. Did you mean 'datadir'"):
        FolderDataModule(tmp_path, train=ALL["train"], test=spec).setup("test")


def test_any_dataset_of_pairs__is_described_by_its_target(tmp_path):
    layouts.write_folders(tmp_path, ["a", "b"], per_class=2)
    described = {"_target_": "torchvision.datasets.ImageFolder", "root": str(tmp_path)}
    datamodule = ImageDataModule(num_classes=2, train={"global_batch_size": 2, "dataset": described})
    batch = next(iter(datamodule.train_dataloader()))
    assert batch["input"].shape == (2, 3, 8, 8)
    assert labels(datamodule, "train") == [0, 0, 1, 1]
    with pytest.raises(DataError, match=r"datamodule\.train: there is a label 1; num_classes=1"):
        ImageDataModule(num_classes=1, train={"global_batch_size": 2, "dataset": described}).setup("fit")
    with pytest.raises(ConfigError, match="expected a mapping with a _target_"):
        ImageDataModule(num_classes=1, train={"global_batch_size": 2}).setup("fit")


# Resident images


def test_resident__batches_are_those_of_the_loader_at_any_number_of_processes(cifar_tree):
    for world in (1, 2):
        for rank in range(world):
            pair = []
            for resident in (True, False):
                datamodule = CIFAR10DataModule(cifar_tree, **ALL, resident=resident)
                strategy = SimpleNamespace(root_device=torch.device("cpu"))
                datamodule.trainer = SimpleNamespace(
                    world_size=world,
                    global_rank=rank,
                    strategy=strategy,
                    fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(restarting=False)),
                )
                train = datamodule.train_dataloader()
                train.batch_sampler.sampler.set_epoch(5)
                pair.append([*train, *datamodule.val_dataloader(), *datamodule.feature_dataloader("train")])
            assert len(pair[0]) == 3 * 20 // 4
            for one, other in zip(*pair, strict=True):
                assert list(one) == list(other)
                assert all(torch.equal(one[key], other[key]) for key in one)


def test_resident__split_is_held_once_and_read_by_workers_once(cifar_tree):
    spec = {"global_batch_size": 4, "loader": {"num_workers": 1}}
    datamodule = CIFAR10DataModule(cifar_tree, train=spec, val=spec, resident=True)
    datamodule.setup("fit")
    loaders = [datamodule.train_dataloader(), datamodule.feature_dataloader("train")]
    assert [loader.num_workers for loader in loaders] == [0, 0]
    assert loaders[0].dataset.memory is loaders[1].dataset.memory
    assert [loader.dataset.dataset.training for loader in loaders] == [True, False]


def test_resident__images_that_do_not_fit_end_the_run_before_training(cifar_tree):
    datamodule = CIFAR10DataModule(cifar_tree, **ALL, resident=True, resident_limit_gb=1e-5)
    with pytest.raises(DataError, match=r"datamodule\.train: 20 images of 3 x 32 x 32 take .*resident_limit_gb=1e-05"):
        datamodule.setup("fit")


def test_resident__subsets_and_folds_of_a_split_are_those_of_the_loader(cifar_tree):
    classes = {"class_list": ["class3", "class7", "class8"]}
    train = {
        "global_batch_size": 2,
        "num_folds": 2,
        "dataset": [classes, {**classes, "sample_ratio": 0.5}],
    }
    pair = []
    for resident in (True, False):
        split = {"global_batch_size": 4, "dataset": classes}
        datamodule = CIFAR10DataModule(cifar_tree, train=train, val=split, resident=resident)
        datamodule.setup("fit")
        assert (datamodule.num_classes, datamodule.train_num_samples, datamodule.val_num_samples) == (3, 9, 6)
        pair.append([*datamodule.train_dataloader(), *datamodule.val_dataloader()])
    assert len(pair[0]) == 2 * 5 + 2
    for one, other in zip(*pair, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("input", "label", "idx"))


lightning_run = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@lightning_run
def test_resident__fit_validate_and_test_are_those_of_the_loader(cifar_tree, tmp_path):
    resident = image_recorder.run(cifar_tree, tmp_path, resident=True, test=True)
    loader = image_recorder.run(cifar_tree, tmp_path, resident=False, test=True, workers=1)
    assert resident == loader
    assert [len(resident[split]) for split in ("train", "val", "test")] == [6, 8, 4]
    assert resident["train"][0][1] != resident["train"][3][1]


@lightning_run
@pytest.mark.parametrize("step", [2, 3])
def test_resident__resumes_where_it_stood_in_the_epoch(step, cifar_tree, tmp_path):
    whole = image_recorder.run(cifar_tree, tmp_path, resident=True, save_at=step)
    rest = image_recorder.run(cifar_tree, tmp_path, resident=True, ckpt_path=tmp_path / "middle.ckpt")
    assert rest["train"] == whole["train"][step:]


@pytest.fixture(scope="module")
def ranks(run_program, cifar_tree, tmp_path_factory):
    """What each of two processes was given."""
    folder = tmp_path_factory.mktemp("ranks")
    run_program(image_recorder.__file__, cifar_tree, folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@lightning_run
def test_resident__two_processes_are_given_the_batches_of_one(ranks, cifar_tree, tmp_path):
    single = image_recorder.run(cifar_tree, tmp_path, resident=True, test=True)
    for split in ("train", "val", "test"):
        together = [
            (one[0], sorted([*one[1], *two[1]]))
            for one, two in zip(*(r["resident"][split] for r in ranks), strict=True)
        ]
        assert together == [(epoch, sorted(samples)) for epoch, samples in single[split]]
    for rank in ranks:
        assert rank["resident"] == rank["loader"]
        assert rank["resumed"]["train"] == rank["resident"]["train"][4:]
