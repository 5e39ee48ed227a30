import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eztorch.models.trunks import create_resnet3d_basic
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


def _on_meta(**arguments):
    with torch.device("meta"):
        return create_resnet3d_basic(**arguments)


def _count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("size", "gigaflop"), [(112, 10.96), (224, 40.12)])
def test_resnet3d__r3d18_has_the_published_cost(size, gigaflop):
    model = _on_meta(model_depth=18)
    with FlopCounterMode(display=False) as flops:
        out = model(torch.empty(1, 3, 8, size, size, device="meta"))
    assert flops.get_total_flops() / 1e9 == pytest.approx(gigaflop, abs=0.005)
    assert out.shape == (1, 512, 8, -(-size // 32), -(-size // 32))


@pytest.mark.parametrize(
    ("arguments", "millions", "num_features", "num_layers"),
    [
        ({"model_depth": 10}, 7.85, 512, 5),
        ({"model_depth": 18}, 20.02, 512, 9),
        ({"model_depth": 34}, 39.57, 512, 17),
        ({"model_depth": 50}, 31.63, 2048, 17),
        ({"model_depth": 101}, 59.54, 2048, 34),
        ({"model_depth": 50, "block": "basic"}, 39.57, 512, 17),
        ({"model_depth": 101, "block": "basic"}, 79.69, 512, 34),
        ({"model_depth": 18, "block": "bottleneck"}, 17.88, 2048, 9),
        ({"model_depth": 34, "block": "bottleneck"}, 31.63, 2048, 17),
        ({"model_depth": 18, "stem_dim_out": 16}, 1.26, 128, 9),
    ],
)
def test_resnet3d__sizes(arguments, millions, num_features, num_layers):
    model = _on_meta(**arguments)
    assert _count(model) / 1e6 == pytest.approx(millions, abs=0.005)
    assert (model.num_features, model.num_layers) == (num_features, num_layers)
    assert model(torch.empty(1, 3, 2, 32, 32, device="meta")).shape[1] == num_features


def test_resnet3d__bottlenecks_are_the_slow_networks_of_pytorchvideo():
    command = [sys.executable, Path(__file__).with_name("slow_resnet.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["31634496"] * 2 + ["59539520"] * 2


def test_resnet3d__small_stem_keeps_small_clips_large():
    model = create_resnet3d_basic(
        model_depth=10,
        input_channel=1,
        stem_dim_out=4,
        stem_conv_kernel_size=[3, 3, 3],
        stem_conv_stride=[1, 1, 1],
        stem_pool=None,
        stage_temporal_stride=[1, 1, 2, 2],
        stage_spatial_w_stride=[1, 1, 2, 2],
    )
    assert model(torch.randn(2, 1, 8, 16, 16)).shape == (2, 32, 2, 2, 4)


def test_resnet3d__kernels_of_the_stages():
    def kernels(model):
        return [model.get_parameter(f"blocks.{i}.res_blocks.0.branch2.conv_a.weight").shape[2:] for i in range(1, 5)]

    assert kernels(_on_meta(model_depth=18)) == [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert kernels(_on_meta(model_depth=50)) == [(1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1)]
    assert kernels(_on_meta(model_depth=18, stage_conv_a_kernel_size=[3, 1, 1])) == [(3, 1, 1)] * 4
    each = [[1, 3, 3], [1, 3, 3], [1, 3, 3], [3, 3, 3]]
    assert kernels(_on_meta(model_depth=18, stage_conv_a_kernel_size=each)) == [tuple(k) for k in each]


def test_resnet3d__kernels_of_a_stage_are_taken_in_turn():
    stages = [[3, 1, 1], [[3, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1], [3, 1, 1]], [[1, 1, 1]]]
    model = _on_meta(model_depth=50, stage_conv_a_kernel_size=stages)
    times = [[block.branch2.conv_a.kernel_size[0] for block in stage.res_blocks] for stage in model.blocks[1:]]
    assert times == [[3, 3, 3], [3, 1, 3, 1], [1, 1, 3, 1, 1, 3], [1, 1, 1]]


def test_resnet3d__pooling_after_the_first_stage_halves_the_frames_and_has_no_layer():
    model = _on_meta(model_depth=18, stage1_pool=[2, 1, 1], non_local=[[], [1], [], []])
    assert model(torch.empty(1, 3, 8, 64, 64, device="meta")).shape == (1, 512, 4, 2, 2)
    layers = {name: model.get_param_layer_id(name) for name, _ in model.named_parameters()}
    assert set(layers.values()) == set(range(model.num_layers)) == set(range(9))
    assert layers["blocks.3.res_blocks.0.branch1_conv.weight"] == 3
    assert layers["blocks.3.res_blocks.1.non_local.conv_g.weight"] == 4


def test_resnet3d__non_local_blocks_change_nothing_at_the_start():
    torch.manual_seed(0)
    plain = create_resnet3d_basic(model_depth=18, stem_dim_out=8)
    looking = create_resnet3d_basic(model_depth=18, stem_dim_out=8, non_local=[[0], [1], [0, 1], []])
    missing, unexpected = looking.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert len({name.partition(".non_local")[0] for name in missing}) == 4
    clips = torch.randn(2, 3, 2, 64, 64)
    torch.testing.assert_close(looking(clips), plain(clips), rtol=0, atol=0)


def test_resnet3d__every_parameter_learns_and_has_a_layer():
    model = create_resnet3d_basic(model_depth=18, stem_dim_out=4)
    model(torch.randn(2, 3, 2, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert model.learnable_params == list(model.parameters())
    layers = [model.get_param_layer_id(name) for name, _ in model.named_parameters()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(model.num_layers))
    assert model.get_param_layer_id("blocks.0.conv.weight") == 0
    assert model.get_param_layer_id("blocks.1.res_blocks.1.branch2.conv_b.weight") == 2
    assert model.get_param_layer_id("blocks.4.res_blocks.0.branch1_conv.weight") == 7


def test_resnet3d__keeps_its_input():
    clips = torch.randn(2, 3, 2, 32, 32)
    before = clips.clone()
    create_resnet3d_basic(model_depth=10, stem_dim_out=4, stem_pool=None, norm=None, activation="gelu")(clips)
    torch.testing.assert_close(clips, before, rtol=0, atol=0)


def test_resnet3d__without_normalisation_treats_samples_apart():
    model = create_resnet3d_basic(model_depth=10, stem_dim_out=4, norm=None)
    assert not any(isinstance(m, nn.BatchNorm3d) for m in model.modules())
    clips = torch.randn(3, 3, 2, 32, 32)
    torch.testing.assert_close(model(clips)[:1], model(clips[:1]))


def test_resnet3d__head_takes_the_feature_maps():
    head = {"_target_": "eztorch.models.heads.create_video_resnet_head", "in_features": 32, "num_classes": 5}
    model = create_resnet3d_basic(model_depth=10, stem_dim_out=4, head=head)
    assert model(torch.randn(2, 3, 2, 32, 32)).shape == (2, 5)


def test_resnet3d__builds_from_a_spec():
    spec = {"_target_": "eztorch.models.trunks.create_resnet3d_basic", "head": None, "model_depth": 18}
    with torch.device("meta"):
        assert _count(build(spec)) == 20_023_872


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_depth": 19}, "model_depth='19' is not known"),
        ({"block": "botleneck"}, "Did you mean 'bottleneck'"),
        ({"norm": "bn"}, "norm='bn' is not known"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"stem_pool": "max"}, "stem_pool='max' is not known"),
        ({"stem_conv_kernel_size": [7, 7]}, re.escape("stem_conv_kernel_size=[7, 7]; expected three")),
        ({"stem_pool_stride": 2}, "stem_pool_stride=2; expected three"),
        ({"stage_conv_b_kernel_size": [[1, 3, 3]] * 3}, "stage_conv_b_kernel_size.*each of the 4 stages"),
        ({"stage_conv_a_kernel_size": [[1, 3, 3], 3, 3, 3]}, re.escape("stage_conv_a_kernel_size[1]=3")),
        ({"stage_conv_a_kernel_size": [[[3, 1, 1], 3], 3, 3, 3]}, re.escape("stage_conv_a_kernel_size[0]=3")),
        ({"stage1_pool": 2}, "stage1_pool=2; expected three"),
        ({"non_local": [[0]]}, "non_local.*for each of the 4 stages"),
        ({"non_local": [[], [2], [], []]}, re.escape("non_local[1]=[2]; this stage has the blocks 0 to 1")),
        ({"stage_spatial_h_stride": [1, 2]}, re.escape("stage_spatial_h_stride=[1, 2]; expected one number for each")),
    ],
)
def test_resnet3d__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_resnet3d_basic(**{"model_depth": 18, **arguments})
