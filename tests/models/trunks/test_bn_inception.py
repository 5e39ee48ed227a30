import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from eztorch.models.trunks import create_bn_inception, create_frame_model
from eztorch.models.trunks.bn_inception import Inception, _Sizes
from eztorch.utils.errors import ConfigError

# Figure 5 of arXiv 1502.03167: sides and channels after the stem and the blocks at 224 x 224. The paper has 576 after
# 4c and 4d, the network that TSN's weights are of 608, and 1056 after 4e instead of 1024.
MAPS = {
    **{"stem": (28, 192), "3a": (28, 256), "3b": (28, 320), "3c": (14, 576), "4a": (14, 576), "4b": (14, 576)},
    **{"4c": (14, 608), "4d": (14, 608), "4e": (7, 1056), "5a": (7, 1024), "5b": (7, 1024)},
}


def test_bn_inception__has_the_maps_of_the_paper():
    with torch.device("meta"):
        network = create_bn_inception().eval()
        x = network.stem(torch.empty(1, 3, 224, 224))
    assert x.shape == (1, 192, 28, 28)
    found = {"stem": (28, 192)}
    for name, block in network.blocks.named_children():
        x = block(x)
        found[name] = (x.shape[3], x.shape[1])
    assert found == MAPS


def test_bn_inception__has_the_parameters_of_the_weights_in_use():
    # 11,295,240 are in TSN's and pretrainedmodels' files (ImageNet, 1000 classes); what it costs is ours.
    with torch.device("meta"):
        network = create_bn_inception(1000).eval()
        images = torch.empty(1, 3, 224, 224)
    assert sum(p.numel() for p in network.parameters()) == 11_295_240
    with FlopCounterMode(display=False) as counter:
        network(images)
    assert counter.get_total_flops() / 2e9 == pytest.approx(2.03, abs=0.005)


def test_inception__joins_its_branches():
    torch.manual_seed(0)
    block = Inception(6, _Sizes(3, (2, 4), (2, 5), 7)).eval()
    x = torch.rand(2, 6, 9, 8)

    def layer(module, x):
        return F.relu(module.norm(module.conv(x)))

    pooled = nn.AvgPool2d(3, 1, 1)(x)
    expected = [
        layer(block.one, x),
        layer(block.three.conv, layer(block.three.reduce, x)),
        layer(block.twice.conv2, layer(block.twice.conv1, layer(block.twice.reduce, x))),
        layer(block.proj, pooled),
    ]
    torch.testing.assert_close(block(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize("side", [6, 8])
def test_inception__halves_maps_as_caffe_does(side):
    block = Inception(6, _Sizes(0, (2, 4), (2, 5), 0, "max")).eval()
    x = torch.rand(2, 6, side, side)
    pooled = nn.MaxPool2d(3, 2, ceil_mode=True)(x)
    assert block(x).shape == (2, 4 + 5 + 6, side // 2, side // 2)
    torch.testing.assert_close(block(x)[:, 9:], pooled)


@pytest.mark.parametrize("size", [(97, 65), (48, 80)])
def test_bn_inception__takes_images_of_any_size(size):
    network = create_bn_inception(num_classes=3).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, *size)).shape == (1, 3)


def test_bn_inception__under_a_frame_model_keeps_its_first_normalisation():
    model = create_frame_model(create_bn_inception(), num_classes=4, partial_bn=True)
    learning = [
        name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d) and module.training
    ]
    assert learning == ["network.stem.conv1.norm"]
    assert model.num_layers == 1 + 10 + 1
    assert model.get_param_layer_id("network.blocks.4e.twice.conv2.conv.weight") == 8


def test_bn_inception__refuses_a_negative_number_of_classes():
    with pytest.raises(ConfigError, match="num_classes=-1"):
        create_bn_inception(-1)
