"""Subsets, concatenation, repetition and folds of the splits of a datamodule, on real files."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from eztorch.datamodules import FolderDataModule, RandomDataModule
from eztorch.datasets import SampleAddress, SampleFailure
from eztorch.utils.errors import ConfigError, DataError


def write_images(root, split, classes, per_class):
    for label, name in enumerate(classes):
        (root / split / name).mkdir(parents=True)
        for index in range(per_class):
            pixels = np.full((4, 4, 3), 20 * label + index, dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / name / f"{name}_{index}.png")


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, "train", ("ant", "bee", "cat", "dog"), 10)
    write_images(tmp_path, "val", ("ant", "bee", "cat", "dog"), 3)
    return tmp_path


def make(folder, train=None, val=None, more=None, **keys):
    """A datamodule with these `dataset`s, and with `more` keys of its splits."""
    datasets = {"train": train, "val": val}
    splits = {
        split: {"global_batch_size": 4, "dataset": dataset, **(more or {}).get(split, {})}
        for split, dataset in datasets.items()
    }
    return FolderDataModule(folder, **splits, **keys)


def pixel(item):
    return int(item["input"].flatten()[0])


def test_subset__of_classes_is_relabelled_and_num_classes_follows(folder):
    choice = {"class_list": ["dog", "bee"]}
    datamodule = make(folder, choice, choice)
    assert datamodule.num_classes == 4
    datamodule.setup("fit")
    assert datamodule.num_classes == 2
    dataset = datamodule.dataset("train")
    assert Counter(dataset.labels.tolist()) == {0: 10, 1: 10}
    assert dataset.classes == ("bee", "dog")
    assert [pixel(dataset[index]) for index in (0, 10)] == [20, 60]
    assert [dataset[index]["label"] for index in (0, 10)] == [0, 1]
    assert len(datamodule.dataset("train", read_as="val")) == 20  # made after num_classes has changed
    assert datamodule.num_classes == 2


def test_subset__of_classes_has_to_be_that_of_all_splits(folder):
    datamodule = make(folder, {"class_list": ["dog", "bee"]}, {"class_list": ["bee", "dog"]})
    datamodule.setup("fit")  # the order does not matter
    message = (
        r"datamodule.val.dataset has all classes, and datamodule.train.dataset 2 of the classes \(.*\). Write the same"
    )
    with pytest.raises(ConfigError, match=message):
        make(folder, {"class_ratio": 0.5}).setup("fit")
    with pytest.raises(
        ConfigError, match=r"2 of the classes \(1, 2\), and datamodule.train.dataset 2 of the classes \(0, 1\)"
    ):
        make(folder, {"class_list": [0, 1]}, {"class_list": [1, 2]}).setup("fit")


def test_subset__of_samples_is_balanced_and_leaves_validation_alone(folder):
    datamodule = make(folder, {"sample_ratio": 0.2, "seed": 5})
    datamodule.setup("fit")
    assert (datamodule.num_classes, datamodule.train_num_samples, datamodule.val_num_samples) == (4, 8, 12)
    assert Counter(datamodule.dataset("train").labels.tolist()) == dict.fromkeys(range(4), 2)
    batch = next(iter(datamodule.train_dataloader()))
    assert set(batch["idx"].tolist()) <= set(range(8))


def test_subset__is_read_as_features_too(folder):
    datamodule = make(folder, {"sample_list": ["ant_3", "dog/dog_0.png"]})
    (batch,) = datamodule.feature_dataloader("train")
    assert (batch["idx"].tolist(), batch["label"].tolist()) == ([0, 1], [0, 3])


def test_subset__draws_what_stands_in_for_an_unreadable_image_from_itself(folder):
    (folder / "train" / "bee" / "bee_1.png").write_bytes(b"torn")
    dataset = make(folder, {"sample_list": ["bee_1", "bee_2", "cat_2"]}).dataset("train")
    assert len(dataset) == 3
    items = [dataset[SampleAddress(epoch, 0)] for epoch in range(30)]
    assert {item["idx"] for item in items} == {1, 2}
    assert {item["label"] for item in items} == {1, 2}
    assert {failure.idx for item in items for failure in item["failures"]} == {0}


def test_subset__of_evaluation_gives_the_failure_itself(folder):
    (folder / "val" / "cat" / "cat_1.png").write_bytes(b"torn")
    choice = {"class_list": ["bee", "cat"]}
    dataset = make(folder, choice, choice, more={"val": {"on_error": "count_as_wrong"}}).dataset("val")
    failure = dataset[4]
    assert isinstance(failure, SampleFailure)
    assert (failure.idx, failure.label, failure.counts_as_wrong) == (4, 1, True)
    assert failure.path.endswith("val/cat/cat_1.png")


def test_concatenation__follows_the_order_of_the_list(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_images(other, "more", ("ant", "bee", "cat", "dog"), 2)
    sources = [{"sample_ratio": 0.1}, {"datadir": str(other / "more"), "repeat": 3}]
    datamodule = make(folder, sources)
    datamodule.setup("fit")
    dataset = datamodule.dataset("train")
    assert len(dataset) == datamodule.train_num_samples == 4 + 3 * 8
    assert [dataset[index]["idx"] for index in range(28)] == [*range(4), *(list(range(4, 12)) * 3)]
    assert dataset.labels.tolist() == [0, 1, 2, 3, *([0, 0, 1, 1, 2, 2, 3, 3] * 3)]
    assert datamodule.train_labels.tolist() == dataset.labels.tolist()
    assert dataset.name(4) == str(other / "more" / "ant" / "ant_0.png")
    assert len(datamodule.dataset("train", read_as="val")) == 12  # evaluated once each
    seen = [index for batch in datamodule.train_dataloader() for index in batch["idx"].tolist()]
    assert Counter(seen) == {**dict.fromkeys(range(4), 1), **dict.fromkeys(range(4, 12), 3)}


def test_concatenation__of_other_classes_is_an_error():
    class Named(RandomDataModule):
        def make_dataset(self, split, spec, *, training):
            made = super().make_dataset(split, spec, training=training)
            made.classes = ("a", "b") if spec["dataset"]["len_dataset"] == 3 else ("b", "a")
            return made

    sources = [{"shape": [1], "len_dataset": 3}, {"shape": [1], "len_dataset": 4}]
    message = r"datamodule.train.dataset.0 has 2 classes and datamodule.train.dataset.1 2.*'a', 'b' differ"
    with pytest.raises(DataError, match=message):
        Named(train={"dataset": sources, "global_batch_size": 2}, num_classes=2).setup("fit")


@pytest.mark.parametrize(
    ("split", "spec", "message"),
    [
        ("train", {"dataset": {"class_ratio": 2}}, "datamodule.train.dataset: class_ratio=2; expected a share"),
        ("train", {"dataset": {"class_list": ["bea"]}}, "train.dataset: class_list: 'bea' is not.*mean 'bee'"),
        ("train", {"dataset": [{}, {"sample_list": ["x"]}]}, r"train.dataset.1: sample_list: 1 of its 1 .* not there"),
        ("train", {"dataset": []}, "datamodule.train.dataset is an empty list"),
        ("train", {"dataset": "ant"}, "datamodule.train.dataset='ant'; expected a mapping"),
        ("train", {"dataset": {"repeat": 0}}, "datamodule.train.dataset.repeat=0; expected a whole number"),
        ("val", {"dataset": {"repeat": 2}}, "val.dataset.repeat=2: every sample is evaluated once"),
        ("train", {"num_folds": 0}, "datamodule.train.num_folds=0; expected a whole number of at least 1"),
        ("val", {"num_folds": 2}, "datamodule.val.num_folds=2; expected none: it is of training alone"),
        ("val", {"on_error": "count_as_worng"}, "datamodule.val.on_error=.*Did you mean 'count_as_wrong'"),
        ("train", {"on_error": "count_as_wrong"}, "train.on_error=count_as_wrong: training has no answers"),
        ("train", {"dataset": {"sample_ratoi": 0.1}}, "datamodule.train.dataset.sample_ratoi: unknown key"),
    ],
)
def test_split__errors_name_the_key(folder, split, spec, message):
    with pytest.raises(ConfigError, match=message):
        make(folder, more={split: spec}).setup("fit")


def test_resident__images_are_not_repeated(folder):
    with pytest.raises(ConfigError, match=r"datamodule.train.num_folds repeats all of them"):
        make(folder, {"repeat": 2}, resident=True)


def test_resident__images_may_be_a_part(folder):
    choice = {"class_list": ["bee", "dog"]}
    datamodule = make(folder, choice | {"sample_ratio": 0.3}, choice, resident=True)
    datamodule.setup("fit")
    batch = next(iter(datamodule.feature_dataloader("train")))
    assert (batch["idx"].tolist(), batch["label"].tolist()) == ([0, 1, 2, 3], [0, 0, 0, 1])
