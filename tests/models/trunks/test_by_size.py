"""Names of factories in configurations of the predecessor."""

import pytest
import torch

from eztorch.models import trunks
from eztorch.models.trunks import create_swin, create_video_network, create_vit, create_vivit
from eztorch.utils.config import build, problems
from eztorch.utils.errors import ConfigError


def shapes(network):
    return {name: value.shape for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options", "builder", "size"),
    [
        ("create_vit_tiny", {"pool": "token"}, create_vit, "tiny"),
        ("create_vit_small", {"patch": [2, 16, 16]}, create_vit, "small"),
        ("create_vit_base", {}, create_vit, "base"),
        ("create_vivit_tiny", {"temporal_depth": 2}, create_vivit, "tiny"),
        ("create_vivit_small", {}, create_vivit, "small"),
        ("create_vivit_base", {"num_classes": 400}, create_vivit, "base"),
        ("create_swin_tiny", {}, create_swin, "swin_t"),
        ("create_swin_small", {}, create_swin, "swin_s"),
        ("create_swin_base", {"num_classes": 10}, create_swin, "swin_b"),
        ("create_r2plus1d_18", {"num_classes": 400}, create_video_network, "r2plus1d_18"),
        ("create_r2plus1d", {"num_classes": 400}, create_video_network, "r2plus1d_r50"),
        ("create_x3d", {"num_classes": 400}, create_video_network, "x3d_s"),
    ],
)
def test_by_size__builds_the_network_of_its_name(name, options, builder, size):
    spec = {"_target_": f"eztorch.models.trunks.{name}", **options}
    assert list(problems(spec)) == []
    with torch.device("meta"):
        assert shapes(build(spec)) == shapes(builder(size, **options))
    assert name in trunks.__all__


@pytest.mark.parametrize(("options", "name"), [({}, "s3d"), ({"gating": True}, "s3d_g")])
def test_by_size__s3d_has_101_classes_and_gates_where_they_are_asked_for(options, name):
    with torch.device("meta"):
        network = build({"_target_": "eztorch.models.trunks.create_s3d", **options})
        assert shapes(network) == shapes(create_video_network(name, num_classes=101))


def test_by_size__an_argument_without_a_place_is_named():
    spec = {"_target_": "eztorch.models.trunks.create_r2plus1d_18", "stem": "LargeR2Plus1dStem", "layers": [1, 1, 1, 1]}
    with torch.device("meta"), pytest.raises(ConfigError, match=r"layers|stem"):
        build(spec)
