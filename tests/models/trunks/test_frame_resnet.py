"""2D residual networks with bricks that look over time."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from eztorch.models.trunks import create_frame_model, create_frame_resnet, create_resnet, create_tdn
from eztorch.models.trunks.frame_resnet import residual_stages
from eztorch.models.weights import load_tensors
from eztorch.modules import MultiViewFusion, TAdaConv2d, TemporalShift, set_frames_per_clip
from eztorch.utils.errors import ConfigError


class Weights(dict):
    name = "IMAGENET1K_V1"

    def get_state_dict(self, **arguments):
        return dict(self)


@pytest.fixture
def image_weights(monkeypatch):
    torch.manual_seed(3)
    state = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr("eztorch.models.trunks.resnet.get_model_weights", lambda name: [Weights(state)])
    return {key: value for key, value in state.items() if not key.startswith("fc.")}


PARTS = [
    {"brick": "shift"},
    {"brick": "fusion"},
    {"convolution": "tada"},
    {"brick": "shift", "convolution": "tada", "temporal_pool": True},
]


@pytest.mark.parametrize("parts", PARTS)
def test_frame_resnet__keeps_the_names_of_torchvision(parts, image_weights):
    network = create_frame_resnet("resnet18", pretrained=True, **parts)
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in image_weights.items())
    # Weights that are loaded later find their places too, whatever stands beside them.
    missing, unexpected = create_frame_resnet("resnet18", **parts).load_state_dict(image_weights, strict=False)
    assert unexpected == []
    assert all(any(part in key for part in (".brick.", ".calibration.", ".pool_norm.")) for key in missing)


@pytest.mark.parametrize("later", [False, True])
def test_tdn__takes_the_weights_and_begins_its_motion_as_them(image_weights, later):
    network = create_tdn("resnet18", pretrained=not later)
    if later:
        model = create_frame_model(network)
        report = load_tensors(model, image_weights, strict=False)
        assert set(report.matched.values()) == set(image_weights)
    state = network.state_dict()
    assert all(torch.equal(state[f"resnet.{key}"], value) for key, value in image_weights.items())
    mean = image_weights["conv1.weight"].mean(dim=1)
    assert all(torch.equal(network.difference.conv1.weight[:, c], mean) for c in range(12))
    for key, value in network.difference.layer1.state_dict().items():
        assert torch.equal(value, image_weights[f"layer1.{key}"])
    again = create_tdn("resnet18")
    nn.init.ones_(network.difference.conv1.weight)
    again.load_state_dict(network.state_dict())
    assert again.difference.conv1.weight.min() == 1


@pytest.mark.parametrize(("name", "every", "found"), [("resnet18", 1, 8), ("resnet18", 2, 4), ("resnet50", 1, 16)])
def test_shift__stands_in_front_of_the_first_convolution_of_blocks(name, every, found):
    with torch.device("meta"):
        network = create_frame_resnet(name, brick={"name": "shift", "fold_div": 4}, brick_every=every)
    shifts = {key: module for key, module in network.named_modules() if isinstance(module, TemporalShift)}
    assert len(shifts) == found
    assert all(key.endswith(".conv1.brick") for key in shifts)
    assert shifts["layer2.0.conv1.brick"].fold == (64 if name == "resnet18" else 256) // 4


def test_shift__moves_what_the_branch_sees_and_not_the_shortcut():
    network, image = create_frame_resnet("resnet18", brick="shift").eval(), create_resnet("resnet18", num_classes=0)
    image.load_state_dict(network.state_dict())
    set_frames_per_clip(network, 4)
    x = torch.randn(4, 64, 8, 8)
    block, plain = network.layer1[0], image.eval().layer1[0]
    shifted = torch.zeros_like(x)
    shifted[:-1, :8], shifted[1:, 8:16], shifted[:, 16:] = x[1:, :8], x[:-1, 8:16], x[:, 16:]
    branch = plain.bn2(plain.conv2(plain.relu(plain.bn1(plain.conv1(shifted)))))
    assert torch.allclose(block(x), torch.relu(x + branch), atol=1e-5)


def test_fusion__stands_in_the_stages_that_are_named():
    network = create_frame_resnet("resnet18", brick={"name": "fusion", "share": 0.25}, brick_stages=[2, 4])
    having = {key.split(".")[0] for key, module in network.named_modules() if isinstance(module, MultiViewFusion)}
    assert having == {"layer2", "layer4"}
    assert network.layer4[1].conv1.brick.fused == 128


def test_tada__stands_for_the_second_convolution_of_every_block():
    with torch.device("meta"):
        network = create_frame_resnet("resnet50", convolution={"name": "tada", "reduction": 2}, temporal_pool=True)
    convs = {key: module for key, module in network.named_modules() if isinstance(module, TAdaConv2d)}
    assert len(convs) == 16
    assert all(key.endswith(".conv2") for key in convs)
    assert convs["layer4.0.conv2"].stride == (2, 2)
    assert convs["layer4.0.conv2"].calibration.reduce.out_channels == 256
    assert convs["layer4.0.conv2"].bias is None


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_temporal_pool__adds_an_average_over_three_frames_that_begins_at_zero(name):
    network = create_frame_resnet(name, temporal_pool=True).eval()
    block = network.layer1[1]
    assert block.pool_norm.weight.abs().max() == 0
    set_frames_per_clip(network, 3)
    x = torch.randn(6, block.conv1.in_channels, 4, 4)
    nn.init.uniform_(block.pool_norm.weight)
    nn.init.uniform_(block.pool_norm.running_mean)
    hidden = block.conv2(block.relu(block.bn1(block.conv1(x))))
    clips = hidden.view(2, 3, *hidden.shape[1:])
    zero = torch.zeros_like(clips[:, :1])
    long = torch.cat([zero, clips, zero], dim=1)
    average = ((long[:, :-2] + long[:, 1:-1] + long[:, 2:]) / 3).flatten(0, 1)
    out = block.bn2(hidden) + block.pool_norm(average)
    if name == "resnet50":
        out = block.bn3(block.conv3(block.relu(out)))
    assert torch.allclose(block(x), torch.relu(out + x), atol=1e-5)


def test_frame_resnet__tells_the_layers_of_all_its_parameters():
    network = create_frame_resnet("resnet18", brick="fusion", convolution="tada", temporal_pool=True)
    layers = {name: network.get_param_layer_id(name) for name, _ in network.named_parameters()}
    assert network.num_layers == 9
    assert layers["layer2.1.conv1.brick.norm.weight"] == layers["layer2.1.pool_norm.bias"] == 4
    assert sum(len(stage) for stage in residual_stages(network)) == 8


def motion_of(network, x):
    """TDN, section 3.2: the differences of each middle frame, one by one."""
    stem = []
    for segment in x:
        differences = [segment[i + 1] - segment[i] for i in range(4)]
        small = nn.functional.avg_pool2d(torch.cat(differences)[None], 2)
        stem.append(network.maxpool(torch.relu(network.bn1(network.conv1(small)))))
    return torch.cat(stem), network.layer1(torch.cat(stem))


def test_tdn__adds_the_motion_to_the_middle_frame_after_the_stem_and_the_first_stage():
    network = create_tdn("resnet18", share=0.25).eval()
    set_frames_per_clip(network, 2)
    resnet, x = network.resnet, torch.randn(4, 5, 3, 64, 48)
    stem, stage = motion_of(network.difference, x)
    out = resnet.maxpool(torch.relu(resnet.bn1(resnet.conv1(x[:, 2]))))
    assert stem.shape[2:] == (8, 6)
    out = 0.75 * out + 0.25 * stem.repeat_interleave(2, 2).repeat_interleave(2, 3)
    out = 0.75 * resnet.layer1(out) + 0.25 * stage.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = resnet.layer4(resnet.layer3(resnet.layer2(out))).mean(dim=(2, 3))
    assert torch.allclose(network(x), expected, atol=1e-5)


def test_tdn__of_stills_sees_no_motion():
    network = create_tdn("resnet18").eval()
    still = torch.randn(2, 1, 3, 64, 64).expand(-1, 5, -1, -1, -1)
    stem, _ = network.difference(still)
    assert stem.abs().max() == 0  # fresh statistics: a difference of zero stays zero


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"brick": "shiftt"}, "brick.name='shiftt' is not known.*Did you mean 'shift'"),
        ({"brick": {"name": "shift", "fold": 8}}, "unknown key 'fold'.*Did you mean 'fold_div'"),
        ({"brick": 3}, "brick=3; expected a name"),
        ({"brick": "shift", "brick_stages": [0, 1]}, r"brick_stages=\[0, 1\]"),
        ({"brick": "shift", "brick_every": 0}, "brick_every=0"),
        ({"convolution": "tda"}, "convolution.name='tda' is not known"),
        ({"num_classes": 5}, r"network\.num_classes=5: classes belong to the frame model"),
        ({"name": "resnet20"}, "name='resnet20' is not known"),
    ],
)
def test_frame_resnet__errors_name_the_argument(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_frame_resnet(**{"name": "resnet18", **arguments})


def test_tdn__share_is_a_share():
    with pytest.raises(ConfigError, match=r"share=1\.5"):
        create_tdn("resnet18", share=1.5)
