"""Every group of images composes with a recipe, its datamodule takes its keys, and its transforms make their views."""

from __future__ import annotations

import pytest
import torch

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build, problems

GROUPS = {
    "cifar10": ("CIFAR10DataModule", 10),
    "cifar100": ("CIFAR100DataModule", 100),
    "imagenet": ("ImagenetDataModule", 1000),
    "imagenet100": ("Imagenet100DataModule", 100),
    "stl10": ("STL10DataModule", 10),
    "tiny_imagenet": ("TinyImagenetDataModule", 200),
    "images": ("FolderDataModule", 10),
    "resident_images": ("FolderDataModule", 10),
}
CROPS = {"random_resized_crop": [224], "center_crop": [224], "crops_2": [224] * 2}
CROPS |= {f"crops_2_{small}": [224] * 2 + [96] * small for small in (4, 6, 8, 10)}
BATCHES = {"image_train": 1, "image_eval": 1, "image_train_small": 1, "image_eval_small": 1}
VIEWS_OF_BATCHES = ("image_contrastive_small", "image_weak_strong_small")


def composed(tmp_path, *overrides, recipe="supervised_resnet18_cifar10"):
    task = recipe.partition("_")[0]
    arguments = parse(["-cn", recipe, *overrides, f"dir.root={tmp_path}"])
    composer = Composer(find_recipe(arguments, task), task)
    config = composer.resolve(composer.compose(arguments.overrides), tmp_path)
    assert list(problems(config)) == []
    return config


@pytest.mark.parametrize("group", GROUPS)
def test_datamodule__composes_and_takes_its_keys(group, tmp_path, cifar_tree):
    config = composed(tmp_path, f"datamodule={group}", f"dir.data={cifar_tree}")
    datamodule = build(config["datamodule"])
    assert (type(datamodule).__name__, datamodule.num_classes) == GROUPS[group]
    assert datamodule.resident == (group not in ("images", "imagenet", "imagenet100"))


@pytest.mark.parametrize("group", CROPS)
def test_crops__of_the_workers_are_those_of_their_name(group, tmp_path):
    config = composed(
        tmp_path, "datamodule=imagenet", f"transform/image@datamodule.train.transform={group}", "dir.data=/data"
    )
    sample = build(config["datamodule"]["train"]["transform"])(
        {"input": torch.randint(256, (3, 90, 120), dtype=torch.uint8), "label": 1, "idx": 2}
    )
    views = sample["input"] if isinstance(sample["input"], list) else [sample["input"]]
    assert [tuple(view.shape) for view in views] == [(3, size, size) for size in CROPS[group]]
    assert {view.dtype for view in views} == {torch.uint8}
    assert (sample["label"], sample["idx"]) == (1, 2)
    if len(views) > 1:
        assert not torch.equal(views[0], views[1])


def batch_transform(tmp_path, group):
    config = composed(tmp_path, f"transform@model.train_transform={group}", "dir.data=/data")
    return build(config["model"]["train_transform"])


@pytest.mark.parametrize("group", [*BATCHES, *VIEWS_OF_BATCHES])
def test_batch_transforms__take_whole_batches(group, tmp_path):
    transform = batch_transform(tmp_path, group)
    batch = torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8)
    before = batch.clone()
    views = transform(batch)
    assert torch.equal(batch, before)  # a resident batch may be asked for again
    if group in VIEWS_OF_BATCHES:
        assert len(views) == 2
        assert not torch.equal(views[0], views[1])
    for view in views if isinstance(views, list) else [views]:
        assert (view.dtype, view.shape) == (torch.float32, (6, 3, 32, 32))
        assert view.abs().max() < 3


@pytest.mark.parametrize(
    ("group", "sizes"),
    [("image_contrastive", [64, 64]), ("image_weak_strong", [64, 64]), ("image_multi_crop", [64, 64, 48, 48])],
)
def test_batch_transforms__take_the_crops_of_the_workers(group, sizes, tmp_path):
    crops = [torch.randint(256, (4, 3, size, size), dtype=torch.uint8) for size in sizes]
    views = batch_transform(tmp_path, group)(crops)
    assert [tuple(view.shape) for view in views] == [(4, 3, size, size) for size in sizes]
    assert {view.dtype for view in views} == {torch.float32}


def test_guides__commands_compose(tmp_path):
    small = "model.train_transform.transforms.0.size=64"
    composed(tmp_path, "datamodule=tiny_imagenet", "model.model.num_classes=200", small, "dir.data=/d")
    large = ["model/trunk@model.model=resnet50", "transform@model.train_transform=image_train"]
    large += [f"transform@model.{split}_transform=image_eval" for split in ("val", "test")]
    config = composed(tmp_path, "datamodule=imagenet", "model.model.num_classes=1000", *large, "dir.data=/d")
    assert config["model"]["model"]["name"] == "resnet50"


def test_convnet_tiny__is_the_trunk_of_a_recipe_by_one_word(tmp_path):
    config = composed(tmp_path, "model/trunk=convnet_tiny", "dir.data=/data", recipe="pretrain_resnet18_SimCLR_cifar10")
    trunk = build(config["model"]["trunk"])
    assert trunk(torch.rand(2, 3, 32, 32)).shape == (2, 128)
