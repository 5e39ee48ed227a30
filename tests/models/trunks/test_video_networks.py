import importlib
import warnings

import pytest
import torch
from torchvision.models import get_model

from eztorch.models.trunks import create_video_network
from eztorch.utils.errors import ConfigError


def of_library(name, **options):
    """The library's own network."""
    if not name.startswith(("r2plus1d_r", "csn", "x3d")):
        return get_model(name, weights=None, **options).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pytorchvideo's imports
        hub = importlib.import_module("pytorchvideo.models.hub")
    return getattr(hub, name)(head_activation=None, **options).eval()


def shapes(network):
    return {name: value.shape for name, value in network.state_dict().items()}


# Larger than a single window of the library's pooling.
@pytest.mark.parametrize(
    ("name", "shape"), [("r2plus1d_18", (4, 24, 24)), ("s3d", (24, 224, 256)), ("x3d_xs", (5, 160, 192))]
)
def test_video_network__computes_what_the_library_does(name, shape):
    theirs, ours = of_library(name), create_video_network(name, num_classes=400).eval()
    for value in theirs.state_dict().values():
        if value.is_floating_point() and value.ndim == 1:
            torch.nn.init.uniform_(value, 0.5, 1.5)  # also what begins at 0
    ours.model.load_state_dict(theirs.state_dict())
    clips = torch.randn(1, 3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(ours(clips), theirs(clips), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s", "csn_r101", "r2plus1d_r50", "x3d_l", "r3d_18", "mc3_18"])
def test_video_network__is_that_of_the_library(name):
    with torch.device("meta"):
        theirs, ours = of_library(name), create_video_network(name, num_classes=400).eval().model
    assert shapes(ours) == shapes(theirs)
    if name.startswith("mvit"):
        assert repr(ours) == repr(theirs)  # with every kernel, stride and probability


@pytest.mark.parametrize(
    ("name", "options", "classifier"),
    [
        ("r2plus1d_18", {}, "fc"),
        ("x3d_xs", {}, "blocks.5.proj"),
        ("mvit_v2_s", {"temporal_size": 4, "spatial_size": [32, 32]}, "head"),
    ],
)
def test_video_network__features_are_what_its_classifier_takes(name, options, classifier):
    logits = create_video_network(name, num_classes=7, **options).eval()
    features = create_video_network(name, **options)
    assert features.model.get_submodule(classifier).state_dict() == {}
    missing, unexpected = features.model.load_state_dict(logits.model.state_dict(), strict=False)
    assert missing == []
    assert {key.rpartition(".")[2] for key in unexpected} == {"weight", "bias"}
    assert all(key.startswith(classifier) for key in unexpected)
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.no_grad():
        given = features.eval()(clips)
        assert given.shape == (2, features.num_features)
        torch.testing.assert_close(logits.model.get_submodule(classifier)(given), logits(clips))


def test_video_network__features_are_not_dropped():
    network = create_video_network("r2plus1d_r50")  # pytorchvideo drops half before the classifier
    assert not any(isinstance(module, torch.nn.Dropout) for module in network.modules())
    assert any(isinstance(m, torch.nn.Dropout) for m in create_video_network("r2plus1d_r50", num_classes=3).modules())


def test_video_network__layers_are_blocks():
    with torch.device("meta"):
        x3d, s3d, mvit = (create_video_network(name, num_classes=4) for name in ("x3d_s", "s3d", "mvit_v2_s"))
    assert (x3d.num_layers, s3d.num_layers, mvit.num_layers) == (1 + 26 + 1, 12 + 1, 1 + 16 + 1)
    for network, name, layer in (
        (x3d, "model.blocks.0.conv.conv_t.weight", 0),
        (x3d, "model.blocks.1.res_blocks.0.branch2.conv_a.weight", 1),
        (x3d, "model.blocks.2.res_blocks.0.branch1_conv.weight", 4),
        (x3d, "model.blocks.5.pool.pre_conv.weight", 27),
        (x3d, "model.blocks.5.proj.bias", 27),
        (s3d, "model.features.0.0.0.weight", 0),
        (s3d, "model.features.2.0.weight", 1),
        (s3d, "model.classifier.1.weight", 12),
        (mvit, "model.pos_encoding.class_token", 0),
        (mvit, "model.blocks.0.attn.qkv.weight", 1),
        (mvit, "model.norm.weight", 16),
        (mvit, "model.head.1.weight", 17),
    ):
        assert network.get_param_layer_id(name) == layer, name


class Weights(dict):
    name = "KINETICS400_V1"

    def get_state_dict(self, **arguments):
        return dict(self)


def test_video_network__loads_weights_of_torchvision_but_for_another_classifier(monkeypatch):
    source = of_library("r2plus1d_18")
    place = "eztorch.models.trunks.video_networks.get_model_weights"
    monkeypatch.setattr(place, lambda name: [Weights(source.state_dict())])
    for classes, pretrained in ((0, True), (400, "KINETICS400_V1"), (5, True)):
        model = create_video_network("r2plus1d_18", num_classes=classes, pretrained=pretrained).model
        assert torch.equal(model.layer4[1].conv2[0][3].weight, source.layer4[1].conv2[0][3].weight)
        if classes == 400:
            assert torch.equal(model.fc.weight, source.fc.weight)
    with pytest.raises(ConfigError, match="do not fit these options"):
        create_video_network("r3d_18", pretrained=True)
    with pytest.raises(ConfigError, match=r"pretrained='KINETICS_V1' is not known.*KINETICS400_V1"):
        create_video_network("r2plus1d_18", pretrained="KINETICS_V1")


def test_video_network__loads_weights_of_pytorchvideo(monkeypatch, tmp_path):
    source = of_library("x3d_xs")
    downloaded = tmp_path / "hub" / "checkpoints"
    downloaded.mkdir(parents=True)
    torch.save({"model_state": source.state_dict()}, downloaded / "X3D_XS.pyth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for classes in (0, 5, 400):
        model = create_video_network("x3d_xs", num_classes=classes, pretrained=True).model
        assert torch.equal(model.blocks[5].pool.post_conv.weight, source.blocks[5].pool.post_conv.weight)
        if classes == 400:
            assert torch.equal(model.blocks[5].proj.weight, source.blocks[5].proj.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "x3d"}, "name='x3d' is not known"),
        ({"name": "r2plus1d18"}, r"name='r2plus1d18' is not known.*Did you mean 'r2plus1d_18'"),
        ({"name": "s3d", "num_classes": -1}, "num_classes=-1"),
        ({"name": "s3d", "dropuot": 0.1}, r"s3d: .*dropuot"),
        ({"name": "x3d_m", "widht_factor": 1}, r"x3d_m: .*widht_factor"),
        ({"name": "x3d_m", "stem_conv_stride": [32, 2, 2]}, r"x3d_m: Clip length doesn't match"),
        ({"name": "s3d_g", "pretrained": True}, "no weights of s3d_g"),
        ({"name": "x3d_m", "pretrained": "KINETICS"}, r"pretrained='KINETICS' is not known.*KINETICS400"),
    ],
)
def test_video_network__names_the_key_at_fault(arguments, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_video_network(**arguments)
