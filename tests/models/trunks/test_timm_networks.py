import sys

import pytest
import torch

from eztorch.models.trunks import create_frame_model, create_model_timm, create_vit
from eztorch.optimizers import optimizer_factory
from eztorch.utils.errors import ConfigError

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet10t", 512), ("mobilenetv3_small_050", 1024), ("vit_tiny_patch16_224", 192), ("convnext_atto", 320)],
)
def test_create_model_timm__gives_the_features_that_it_tells(name, features):
    network = create_model_timm(name).eval()
    size = 224 if name.startswith("vit") else 64
    with torch.no_grad():
        assert network(torch.randn(1, 3, size, size)).shape == (1, features)
    assert network.num_features == features
    assert create_model_timm(name, num_classes=7).num_features == features
    layers = {network.get_param_layer_id(key) for key, _ in network.named_parameters()}
    assert layers == set(range(network.num_layers))


def test_create_model_timm__layers_of_a_vision_transformer_are_ours():
    with torch.device("meta"):
        network = create_model_timm("vit_tiny_patch16_224", num_classes=3)
        ours = create_vit("tiny", pool="token", positions="learned", input_size=(224, 224), num_classes=3)
    blocks = [name for name, _ in ours.named_parameters() if not name.startswith(("norm.", "head."))]
    assert all(network.get_param_layer_id(f"model.{name}") == ours.get_param_layer_id(name) for name in blocks)


def test_create_model_timm__computes_what_timm_does_and_learns_with_layer_wise_rates():
    network = create_model_timm("resnet10t", num_classes=5).eval()
    theirs = timm.create_model("resnet10t", num_classes=5).eval()
    theirs.load_state_dict(network.model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(images), theirs(images))
    optimizer, _ = optimizer_factory("sgd", 0.1, network, layer_decay_lr=0.5, scheduler=None)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


def test_create_model_timm__layers_of_a_network_that_timm_knows_none_of_are_its_children(monkeypatch):
    monkeypatch.delattr("timm.models.resnet.ResNet.group_matcher")
    network = create_model_timm("resnet10t", num_classes=5)
    children = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"]
    assert [network.get_param_layer_id(f"model.{child}.weight") for child in ("bn1", "fc")] == [1, 6]
    assert network.num_layers == len(children)


def test_inception_resnet_v2__has_the_published_parameters():
    # timm's results-imagenet.csv: 55.84 M.
    with torch.device("meta"):
        network = create_model_timm("inception_resnet_v2", num_classes=1000)
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == "55.84"


def test_frame_model__takes_networks_of_timm():
    model = create_frame_model(create_model_timm("resnet10t"), num_classes=4, partial_bn=True)
    clips = torch.randn(2, 3, 3, 32, 32)
    logits = model(clips)
    assert logits.shape == (2, 4)
    logits.square().sum().backward()
    assert model.num_layers == model.network.num_layers + 1
    assert model.get_param_layer_id("fc.weight") == model.num_layers - 1


def test_create_model_timm__names_the_extra_where_timm_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs the package timm \(pip install 'eztorch\[timm\]'\)"):
        create_model_timm("resnet10t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet1o1"}, "name='resnet1o1' is no network of timm .*Did you mean 'resnet101'"),
        ({"name": "resnet10t", "num_classes": -1}, "num_classes=-1"),
        ({"name": "resnet10t", "drop_pth": 0.1}, "resnet10t: .*drop_pth"),
        ({"name": "resnet10t.no_such_weights", "pretrained": True}, "resnet10t.no_such_weights: "),
    ],
)
def test_create_model_timm__names_what_cannot_be_used(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_model_timm(**arguments)
