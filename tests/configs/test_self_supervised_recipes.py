"""What recipes of self-supervised methods promise besides running two steps."""

from __future__ import annotations

from fractions import Fraction
from importlib.resources import files

import pytest
import torch
import yaml

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import experiments_dir, find_recipe
from eztorch.models.siamese.base import SiameseKeys
from eztorch.utils.config import build

HEADERS = {path.stem: path.read_text().split("defaults:")[0] for path in experiments_dir().glob("pretrain_*.yaml")}
WITH_TARGET = sorted(name for name in HEADERS if any(method in name for method in ("MoCo", "ReSSL", "SCE")))
RHO = sorted(name for name, header in HEADERS.items() if "rho-" in header and "num_clips=4" in header)


def resolved(name, tmp_path, *overrides):
    arguments = parse(["-cn", name, "dir.data=/data", f"dir.root={tmp_path}", *overrides])
    composer = Composer(find_recipe(arguments, "pretrain"), "pretrain")
    return composer.resolve(composer.compose(arguments.overrides), tmp_path)


@pytest.mark.parametrize("name", WITH_TARGET)
def test_recipes__have_no_synchronised_statistics_where_batches_are_shuffled(name, tmp_path):
    config = resolved(name, tmp_path)
    assert not (config["model"].get("shuffle_bn") and config["trainer"].get("sync_batchnorm"))


@pytest.mark.parametrize("name", RHO)
def test_recipes__of_videos_take_more_clips_as_their_headers_say(name, tmp_path):
    more = "datamodule.train.clip_sampler.num_clips=4 model.num_global_crops=4"
    assert more in " ".join(HEADERS[name].replace("#", "").split())
    config = resolved(name, tmp_path, *more.split())
    sampler = build(config["datamodule"]["train"]["clip_sampler"])
    clips = sampler(Fraction(0), Fraction(10), None, torch.Generator().manual_seed(0))
    transform = build(config["model"]["train_transform"])
    views = transform([torch.randint(256, (2, 3, 2, 32, 32), dtype=torch.uint8) for _ in clips])
    assert len(views) == 4 == config["model"]["num_global_crops"]
    assert len(RHO) == 4


def test_groups__of_every_siamese_method_have_its_shared_keys():
    folder = files("eztorch.configs") / "model"
    shared = set(yaml.safe_load((folder / "shared/siamese.yaml").read_text()))
    assert shared == set(SiameseKeys.__annotations__) - {
        "trunk",
        "optimizer",
        "projector",
        "predictor",
        "train_transform",
        "val_transform",
        "test_transform",
        "sym",
    }
    for path in folder.iterdir():
        tree = yaml.safe_load(path.read_text()) if path.name.endswith(".yaml") else {}
        target = tree.get("_target_", "")
        if target.startswith("eztorch.models.siamese.") and "Token" not in target:  # tokens are not cut into patches
            assert {"shared@_here_": "siamese"} in tree["defaults"] or shared <= tree.keys(), path.name
            assert "sym" in tree, path.name
