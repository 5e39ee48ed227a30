import pytest
import torch

from eztorch.models.trunks import create_resnet, create_resnet3d_basic
from eztorch.models.trunks.inflation import inflate_weight, load_inflated
from eztorch.utils.errors import ConfigError

I3D = {
    "stem_conv_kernel_size": (5, 7, 7),
    "stage1_pool": (2, 1, 1),
    "stage_conv_a_kernel_size": [
        (3, 1, 1),
        [(3, 1, 1), (1, 1, 1)],
        [(3, 1, 1), (1, 1, 1)],
        [(1, 1, 1), (3, 1, 1)],
    ],
}
C2D = {"stage1_pool": (2, 1, 1), "stage_conv_a_kernel_size": (1, 1, 1)}
R3D = {"stem_conv_kernel_size": (3, 7, 7), "stage_conv_a_kernel_size": (3, 3, 3)}


def images(name):
    """A network for images whose normalisations have seen something."""
    torch.manual_seed(0)
    network = create_resnet(name, num_classes=0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def of_images(network, image):
    """Feature maps of torchvision's network before its pooling."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(image))))
    return network.layer4(network.layer3(network.layer2(network.layer1(x))))


# Frames whose features no padding over time reaches: beyond the radius of all kernels, after the pooling of pairs.
@pytest.mark.parametrize(
    ("depth", "arguments", "mode", "num_frames", "untouched"),
    [
        (50, C2D, "mean", 4, slice(None)),
        (50, I3D, "mean", 48, slice(11, 13)),
        (50, I3D, "centre", 4, slice(None)),
        (18, R3D, "mean", 21, slice(10, 11)),
    ],
)
def test_inflation__a_constant_clip_has_the_features_of_its_frame(depth, arguments, mode, num_frames, untouched):
    flat = images(f"resnet{depth}")
    network = create_resnet3d_basic(model_depth=depth, **arguments)
    assert load_inflated(network, flat.state_dict(), mode) == []
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = of_images(flat, image)
        maps = network.eval()(image.unsqueeze(2).expand(-1, -1, num_frames, -1, -1))[:, :, untouched]
    assert maps.shape[2] > 0
    torch.testing.assert_close(maps, expected.unsqueeze(2).expand_as(maps), rtol=1e-3, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_inflation__averages_over_time_or_takes_the_middle():
    weight = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(inflate_weight(weight, 4).sum(dim=2), weight)
    assert torch.equal(inflate_weight(weight, 5, "centre")[:, :, 2], weight)
    assert inflate_weight(weight, 5, "centre").count_nonzero() == 6
    with pytest.raises(ConfigError, match=r"mode='center' is not known.*Did you mean 'centre'"):
        inflate_weight(weight, 3, "center")


def test_inflation__leaves_non_local_blocks_and_a_classifier_of_images():
    with torch.device("meta"):
        network = create_resnet3d_basic(model_depth=50, non_local=[[], [1], [], []])
        kept = load_inflated(network, create_resnet("resnet50", num_classes=7).state_dict())
    assert kept
    assert all(name.startswith("blocks.2.res_blocks.1.non_local.") for name in kept)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet18", {"model_depth": 50}, "downsample|conv_c|shape"),
        ("resnet34", {"model_depth": 18}, r"layer1\.2\.conv1\.weight .* has no blocks\.1\.res_blocks\.2"),
        ("resnet18", {"model_depth": 34}, r"no weights for blocks\.1\.res_blocks\.2.* more"),
        ("resnet18", {"model_depth": 18, "stem_dim_out": 32}, r"conv1\.weight has the shape \(64, 3, 7, 7\)"),
        ("resnet18", {"model_depth": 18, "norm": None}, r"has no blocks\.0\.norm\.weight"),
    ],
)
def test_inflation__names_what_does_not_fit(name, arguments, message):
    with torch.device("meta"):
        flat, network = create_resnet(name, num_classes=0), create_resnet3d_basic(**arguments)
    with pytest.raises(ConfigError, match=message):
        load_inflated(network, flat.state_dict())


class Weights(dict):
    name = "IMAGENET1K_V1"

    def get_state_dict(self, **arguments):
        return dict(self)


def test_resnet3d__begins_with_inflated_weights_of_images(monkeypatch):
    source = images("resnet18")
    monkeypatch.setattr("eztorch.models.trunks.resnet.get_model_weights", lambda name: [Weights(source.state_dict())])
    network = create_resnet3d_basic(model_depth=18, pretrained_2d=True)
    weight = network.get_parameter("blocks.3.res_blocks.1.branch2.conv_a.weight")
    torch.testing.assert_close(weight.sum(dim=2), source.layer3[1].conv1.weight)
    centred = create_resnet3d_basic(model_depth=18, pretrained_2d="IMAGENET1K_V1", inflation="centre")
    weight = centred.get_parameter("blocks.3.res_blocks.1.branch2.conv_a.weight")
    assert torch.equal(weight[:, :, 1], source.layer3[1].conv1.weight)
    with pytest.raises(ConfigError, match="name='resnet10' is not known"):
        create_resnet3d_basic(model_depth=10, pretrained_2d=True)
