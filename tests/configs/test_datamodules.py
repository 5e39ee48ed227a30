"""Every group of a video data set composes with a recipe, and its datamodule takes its keys."""

from __future__ import annotations

import pytest

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build, problems

GROUPS = {
    "cater": ("CaterDataModule", 14),
    "diving48": ("Diving48DataModule", 48),
    "epic_kitchens55": ("EpicKitchens55DataModule", 125),
    "epic_kitchens55_flow": ("EpicKitchens55DataModule", 125),
    "epic_kitchens55_frame": ("EpicKitchens55DataModule", 125),
    "hmdb51": ("Hmdb51DataModule", 51),
    "hmdb51_frame": ("Hmdb51DataModule", 51),
    "kinetics200": ("Kinetics200DataModule", 200),
    "kinetics200_frame": ("Kinetics200DataModule", 200),
    "kinetics400": ("Kinetics400DataModule", 400),
    "kinetics400_csv": ("Kinetics400DataModule", 400),
    "kinetics600": ("Kinetics600DataModule", 600),
    "kinetics700": ("Kinetics700DataModule", 700),
    "something_v1": ("SomethingSomethingV1DataModule", 174),
    "something_v2": ("SomethingSomethingV2DataModule", 174),
    "ucf101": ("Ucf101DataModule", 101),
    "ucf101_frame": ("Ucf101DataModule", 101),
}


@pytest.mark.parametrize("group", GROUPS)
def test_group__composes_and_its_datamodule_takes_the_keys(group, tmp_path):
    arguments = parse(["-cn", "supervised_r3d18_kinetics200", f"datamodule={group}", "dir.data=/data"])
    composer = Composer(find_recipe(arguments, "supervised"), "supervised")
    config = composer.resolve(composer.compose([*arguments.overrides, f"dir.root={tmp_path}"]), tmp_path)
    assert list(problems(config)) == []
    datamodule = build(config["datamodule"])
    assert (type(datamodule).__name__, datamodule.num_classes) == GROUPS[group]
    assert str(datamodule.video_path_prefix).startswith("/data")
    if group.endswith(("_frame", "_v1")):
        assert datamodule.decoder == "frame"


def test_group_video__is_of_videos_of_your_own(tmp_path):
    words = ["-cn", "supervised_r3d18_kinetics200", "datamodule=video", "+datamodule.num_classes=3", "dir.data=/mine"]
    arguments = parse(words)
    composer = Composer(find_recipe(arguments, "supervised"), "supervised")
    config = composer.resolve(composer.compose([*arguments.overrides, f"dir.root={tmp_path}"]), tmp_path)
    assert list(problems(config)) == []
    datamodule = build(config["datamodule"])
    assert (type(datamodule).__name__, datamodule.num_classes) == ("VideoDataModule", 3)
    assert str(datamodule.video_path_prefix) == "/mine"
