"""Temporally adaptive convolutions in 3D networks."""

import pytest
import torch

from eztorch.models.trunks import create_resnet3d_basic, create_slowfast, create_video_network
from eztorch.models.weights import load_tensors
from eztorch.modules import TAdaConv3d
from eztorch.utils.errors import ConfigError

# What builds each network, an input, and how many of its convolutions have no length over time behind the stem.
NETWORKS = {
    "slowfast": (lambda **options: create_slowfast(stem_dim_out=8, **options), (8, 32, 32), 32),
    "r2plus1d_18": (lambda **options: create_video_network("r2plus1d_18", **options), (2, 24, 24), 16),
    "r2plus1d_r50": (lambda **options: create_video_network("r2plus1d_r50", **options), (2, 32, 32), 16),
    "s3d": (lambda **options: create_video_network("s3d", **options), (14, 32, 32), 19),
    "resnet3d": (lambda **options: create_resnet3d_basic(model_depth=18, stem_dim_out=8, **options), (2, 32, 32), 12),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_tada__in_a_3d_network_begins_as_it_and_loads_its_weights(name):
    make, shape, count = NETWORKS[name]
    torch.manual_seed(0)
    plain, adaptive = make().eval(), make(convolution="tada").eval()
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.ones_(module.weight)  # the last of a block may begin at 0
    assert sum(isinstance(module, TAdaConv3d) for module in adaptive.modules()) == count
    report = load_tensors(adaptive, plain.state_dict(), strict=False)
    assert report.missing
    assert all(".calibration." in key for key in report.missing)
    clips = torch.randn(2, 3, *shape)
    with torch.no_grad():
        expected = plain(clips)
        torch.testing.assert_close(adaptive(clips), expected)
        layers = [adaptive.get_param_layer_id(key) for key, _ in adaptive.named_parameters()]
        assert (adaptive.num_layers, set(layers)) == (plain.num_layers, set(range(plain.num_layers)))
        for module in adaptive.modules():
            if isinstance(module, TAdaConv3d):
                torch.nn.init.normal_(module.calibration.expand.weight)
        assert not torch.allclose(adaptive(clips), expected, rtol=0.01)
    adaptive.train()(clips).square().mean().backward()
    assert all(p.grad is not None for p in adaptive.parameters())


def test_tada__options_are_those_of_the_calibration():
    network = create_slowfast(stem_dim_out=8, convolution={"name": "tada", "reduction": 2, "kernel_sizes": [1, 5]})
    calibration = next(module for module in network.modules() if isinstance(module, TAdaConv3d)).calibration
    assert (calibration.reduce.weight.shape, calibration.expand.weight.shape) == ((4, 8, 1), (8, 4, 5))


@pytest.mark.parametrize(
    ("name", "convolution", "message"),
    [
        ("csn_r101", "tada", "convolution='tada': the network has no 1 x 3 x 3 convolutions"),
        ("r2plus1d_18", "tda", "convolution.name='tda' is not known.*Did you mean 'tada'"),
        ("r2plus1d_18", {"name": "tada", "reductions": 2}, "unknown key 'reductions'. Did you mean 'reduction'"),
    ],
)
def test_tada__errors_name_what_is_wrong(name, convolution, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_video_network(name, convolution=convolution)
