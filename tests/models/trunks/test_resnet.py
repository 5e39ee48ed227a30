import pytest
import torch
import torchvision

from eztorch.models.trunks import create_resnet
from eztorch.optimizers import optimizer_factory
from eztorch.utils.errors import ConfigError


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


# Parameters as torchvision publishes them with its weights.
PUBLISHED = {
    "resnet18": 11689512,
    "resnet34": 21797672,
    "resnet50": 25557032,
    "resnet101": 44549160,
    "resnet152": 60192808,
    "resnext50_32x4d": 25028904,
    "resnext101_32x8d": 88791336,
    "wide_resnet50_2": 68883240,
    "wide_resnet101_2": 126886696,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_resnet__has_the_published_parameters_and_the_names_of_torchvision(name):
    with torch.device("meta"):
        model, other = create_resnet(name), torchvision.models.get_model(name)
    assert count(model) == PUBLISHED[name]
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in other.state_dict().items()
    }


def test_resnet__computes_what_torchvision_does():
    model, other = create_resnet("resnet18", num_classes=7).eval(), torchvision.models.resnet18(num_classes=7).eval()
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 64, 48)
    assert torch.equal(model(images), other(images))


@pytest.mark.parametrize(("name", "features"), [("resnet18", 512), ("resnet50", 2048)])
def test_resnet__without_classes_gives_features(name, features):
    model = create_resnet(name, num_classes=0).eval()
    assert model.num_features == features
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, features)
    assert not any(key.startswith("fc") for key in model.state_dict())
    assert create_resnet(name, num_classes=3).num_features == features


def test_resnet__small_stem_keeps_small_images_large():
    model = create_resnet("resnet18", num_classes=0, small_input=True)
    assert count(model) == 11689512 - 513000 - 64 * 3 * (49 - 9)
    sizes = []
    model.layer1.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[2:])))
    model(torch.rand(2, 3, 32, 32))
    assert sizes == [(32, 32)]
    # The first convolution begins as torchvision's do: variance 2 / (64 x 3 x 3).
    assert model.conv1.weight.detach().std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


def test_resnet__options_reach_torchvision():
    model = create_resnet("resnet18", zero_init_residual=True)
    assert model.layer1[0].bn2.weight.abs().max() == 0


def test_resnet__tells_the_layers_of_its_parameters():
    model = create_resnet("resnet18", num_classes=5)
    layers = {name: model.get_param_layer_id(name) for name, _ in model.named_parameters()}
    assert model.num_layers == 10
    assert sorted(set(layers.values())) == list(range(10))
    assert [
        layers[f"{name}.weight"] for name in ("conv1", "bn1", "layer1.0.conv1", "layer1.1.bn2", "layer4.1.conv2")
    ] == [
        0,
        0,
        1,
        2,
        8,
    ]
    assert layers["fc.bias"] == 9
    assert create_resnet("resnet50", num_classes=0).num_layers == 17


def test_resnet__learns_with_layer_wise_rates():
    model = create_resnet("resnet18", num_classes=5)
    optimizer, _ = optimizer_factory("sgd", 0.1, model, layer_decay_lr=0.5, scheduler=None)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


class Weights(dict):
    name = "IMAGENET1K_V1"

    def get_state_dict(self, **arguments):
        return dict(self)


def test_resnet__pretrained_weights_load_but_for_another_classifier(monkeypatch):
    source = torchvision.models.resnet18()
    monkeypatch.setattr("eztorch.models.trunks.resnet.get_model_weights", lambda name: [Weights(source.state_dict())])
    features = create_resnet("resnet18", num_classes=0, pretrained=True)
    assert torch.equal(features.layer3[1].conv2.weight, source.layer3[1].conv2.weight)
    assert torch.equal(create_resnet("resnet18", pretrained="IMAGENET1K_V1").fc.weight, source.fc.weight)
    assert create_resnet("resnet18", num_classes=5, pretrained=True).fc.weight.shape == (5, 512)
    with pytest.raises(ConfigError, match="do not fit"):
        create_resnet("resnet34", pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet20"}, "name='resnet20' is not known.*Did you mean 'resnet"),
        ({"name": "resnet18", "num_classes": -1}, "num_classes=-1"),
        ({"name": "resnet18", "pretrained": True, "small_input": True}, "no pretrained weights of resnet18"),
        ({"name": "resnet18", "pretrained": "IMAGENET1K"}, "pretrained='IMAGENET1K' is not known.*'IMAGENET1K_V1'"),
        ({"name": "resnet18", "zero_init": True}, "resnet18: .*zero_init"),
    ],
)
def test_resnet__errors_name_the_argument(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_resnet(**arguments)
