import pytest
import torch

from eztorch.models.trunks import create_slowfast
from eztorch.models.trunks.slowfast import spread_frames
from eztorch.utils.errors import ConfigError


def frames_of(clips):
    """Numbers of the frames of clips whose frame t is filled with t."""
    return clips[0, 0, :, 0, 0].int().tolist()


def numbered(num_frames):
    return torch.arange(float(num_frames)).view(1, 1, -1, 1, 1).expand(1, 3, num_frames, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "num_frames", "slow", "fast"),
    [
        ({"alpha": 8, "fast_stride": 2}, 64, range(0, 64, 16), range(0, 64, 2)),
        ({"alpha": 4}, 32, range(0, 32, 4), range(32)),
        ({"alpha": 8}, 20, (0, 8, 16), range(20)),
        ({"alpha": 1, "fast_stride": 3}, 7, (0, 3, 6), (0, 3, 6)),
        ({"alpha": 4, "slow_frames": "spread"}, 32, (0, 4, 8, 13, 17, 22, 26, 31), range(32)),
        ({"alpha": 8, "slow_frames": "spread", "fast_stride": 2}, 64, (0, 20, 40, 62), range(0, 64, 2)),
    ],
)
def test_slowfast__pathways_see_their_frames(arguments, num_frames, slow, fast):
    with torch.device("meta"):
        network = create_slowfast(stem_dim_out=8, **arguments)
    found = network.pathways(numbered(num_frames))
    assert [frames_of(clips) for clips in found] == [list(slow), list(fast)]


@pytest.mark.parametrize("num_frames", [16, 32, 64, 128])
def test_spread_frames__are_those_of_pyslowfast(num_frames):
    for alpha in (1, 2, 4, 8, 16):
        theirs = torch.linspace(0, num_frames - 1, num_frames // alpha).long().tolist()
        assert spread_frames(num_frames, alpha) == theirs


@pytest.mark.parametrize(("alpha", "kernel"), [(4, 7), (8, 5), (2, 3), (1, 1)])
def test_slowfast__lateral_connections_follow_alpha(alpha, kernel):
    network = create_slowfast(stem_dim_out=8, alpha=alpha, lateral_kernel=kernel)
    laterals = [stage.multipathway_fusion for stage in network.blocks[:5]]
    assert laterals[-1] is None
    for lateral, channels in zip(laterals[:-1], (1, 4, 8, 16), strict=True):
        convolution = lateral.conv_fast_to_slow
        assert convolution.stride == (alpha, 1, 1)
        assert convolution.kernel_size == (kernel, 1, 1)
        assert convolution.padding == (kernel // 2, 0, 0)
        assert convolution.weight.shape[:2] == (2 * channels, channels)
    for num_frames in (alpha, 2 * alpha, 2 * alpha + 1):
        assert network.eval()(torch.randn(1, 3, num_frames, 32, 32)).shape == (1, 8 * 32 + 32)


def test_slowfast__lateral_adds_a_convolution_of_the_fast_pathway_behind_the_channels_of_the_slow_one():
    network = create_slowfast(stem_dim_out=8, alpha=2, lateral_norm=False).eval()
    stem = network.blocks[0]
    slow, fast = torch.randn(2, 3, 2, 16, 16), torch.randn(2, 3, 4, 16, 16)
    joined, same = stem((slow, fast))
    torch.testing.assert_close(same, stem.multipathway_blocks[1](fast))
    torch.testing.assert_close(joined[:, :8], stem.multipathway_blocks[0](slow))
    padded = torch.nn.functional.pad(same, (0, 0, 0, 0, 2, 2))
    weight = stem.multipathway_fusion.conv_fast_to_slow.weight[:, :, :, 0, 0]
    for t in range(2):
        expected = torch.einsum("bcthw,oct->bohw", padded[:, :, 2 * t : 2 * t + 5], weight)
        torch.testing.assert_close(joined[:, 8:, t], expected, rtol=1e-4, atol=1e-5)


def test_slowfast__layers_are_pairs_of_blocks():
    network = create_slowfast(stem_dim_out=8, num_classes=5)
    layers = {name: network.get_param_layer_id(name) for name, _ in network.named_parameters()}
    assert set(layers.values()) == set(range(network.num_layers))
    assert network.num_layers == 1 + 16 + 1
    for name, layer in {
        "blocks.0.multipathway_blocks.1.conv.weight": 0,
        "blocks.0.multipathway_fusion.norm.bias": 0,
        "blocks.1.multipathway_blocks.0.res_blocks.0.branch1_conv.weight": 1,
        "blocks.1.multipathway_blocks.1.res_blocks.2.branch2.conv_c.weight": 3,
        "blocks.1.multipathway_fusion.conv_fast_to_slow.weight": 3,
        "blocks.4.multipathway_blocks.0.res_blocks.2.branch2.conv_c.weight": 16,
        "blocks.6.proj.weight": 17,
    }.items():
        assert layers[name] == layer
    assert network.learnable_params == list(network.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_depth": 18}, "model_depth='18' is not known"),
        ({"slow_frames": "strided"}, "slow_frames='strided' is not known.*Did you mean 'stride'"),
        ({"alpha": 0}, "alpha=0; expected a positive"),
        ({"fast_stride": 0}, "fast_stride=0; expected a positive"),
        ({"beta_inv": 0}, "beta_inv=0; expected a positive"),
        ({"stem_dim_out": 12}, "stem_dim_out=12 is no multiple of beta_inv=8"),
        ({"lateral_kernel": 4}, "lateral_kernel=4; expected an odd"),
        ({"num_classes": -1}, "num_classes=-1; expected the number of classes"),
    ],
)
def test_slowfast__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_slowfast(**arguments)


def test_slowfast__names_a_number_of_frames_that_cannot_be_spread():
    with torch.device("meta"):
        network = create_slowfast(stem_dim_out=8, slow_frames="spread")
    with pytest.raises(ConfigError, match="alpha=4 does not divide the 30 frames"):
        network.pathways(numbered(30))
