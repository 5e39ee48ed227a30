import pytest
import torch
from torch import nn

from eztorch.models.heads import create_video_resnet_head
from eztorch.models.trunks import create_resnet3d_basic, create_video_head_model
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

HEAD = {
    "_target_": "eztorch.models.heads.create_video_resnet_head",
    "activation": None,
    "dropout_rate": 0.0,
    "in_features": 512,
    "num_classes": 0,
    "output_size": [1, 1, 1],
    "output_with_global_average": True,
    "pool": None,
    "pool_kernel_size": [8, 7, 7],
}
TRUNK = {
    "_target_": "eztorch.models.trunks.create_video_head_model",
    "_recursive_": False,
    "model": {"_target_": "eztorch.models.trunks.create_resnet3d_basic", "head": None, "model_depth": 18},
    "head": HEAD,
}


def _small(num_classes):
    model = create_resnet3d_basic(model_depth=10, stem_dim_out=4)
    return create_video_head_model(model, create_video_resnet_head(in_features=32, num_classes=num_classes))


def test_video_head_model__builds_the_seed_recipe_as_written():
    with torch.device("meta"):
        trunk = build(TRUNK)
        assert trunk(torch.empty(2, 3, 8, 112, 112)).shape == (2, 512)
    assert trunk.num_features == 512
    names = list(trunk.state_dict())
    assert names[0] == "model.blocks.0.conv.weight"
    assert all(name.startswith("model.") for name in names)
    assert HEAD["pool_kernel_size"] == [8, 7, 7]


def test_video_head_model__is_the_head_on_the_model():
    model = _small(num_classes=5).eval()
    clips = torch.randn(2, 3, 2, 32, 32)
    torch.testing.assert_close(model(clips), model.head(model.model(clips)))
    assert model.num_features == 5


@pytest.mark.parametrize(("num_classes", "num_layers"), [(0, 5), (5, 6)])
def test_video_head_model__counts_the_layers_of_both(num_classes, num_layers):
    model = _small(num_classes)
    assert model.num_layers == num_layers
    layers = [model.get_param_layer_id(name) for name, _ in model.named_parameters()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(num_layers))
    assert model.learnable_params == list(model.parameters())


def test_video_head_model__takes_any_modules():
    model = create_video_head_model(nn.Conv3d(3, 8, 1), nn.Flatten())
    assert model(torch.randn(2, 3, 1, 2, 2)).shape == (2, 32)
    assert not hasattr(model, "num_layers")  # neither tells its layers: layer decay can see that


def test_video_head_model__tells_channels_that_do_not_fit():
    spec = {**TRUNK, "model": {**TRUNK["model"], "stem_dim_out": 16}}
    with torch.device("meta"), pytest.raises(ConfigError, match=r"head\.in_features=512, but the model gives 128"):
        build(spec)
