"""Every group of a trunk for clips: composed, counted, and run as a user has it."""

import functools
import importlib
import io
import warnings
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

import eztorch
from eztorch.utils.config import build, problems

# Where the published figures stand; those of pytorchvideo's table are for sides of 256.
ZOO = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
X3D = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"
MMACTION = "https://github.com/open-mmlab/mmaction2/blob/main/configs/recognition/i3d/README.md"
TORCHVISION = "the meta data of torchvision's weights"

# group: native input, features, published millions of parameters with 400 classes, multiply-adds in 1e9 and of which
# input, source.
GROUPS = {
    "slow_r50": ((8, 224, 224), 2048, "32.45", 54.52, (8, 256, 256), ZOO),
    "c2d_r50": ((8, 224, 224), 2048, "24.33", 25.89, (8, 256, 256), ZOO),
    "i3d_r50": ((8, 224, 224), 2048, "28.04", 37.53, (8, 256, 256), ZOO),
    "i3d_nl_r50": ((8, 224, 224), 2048, "35.4", None, None, MMACTION),
    "slowfast_r50": ((32, 224, 224), 2304, "34.57", 65.71, (32, 256, 256), ZOO),
    "slowfast_r50_4x16": ((32, 224, 224), 2304, "34.48", 36.69, (32, 256, 256), ZOO),
    "slowfast_r50_64": ((64, 112, 112), 2304, "34.48", None, None, ZOO),  # 4 x 16 without 928 weights of normalisation
    "slowfast_r101": ((32, 224, 224), 2304, "62.83", 127.20, (32, 256, 256), ZOO),
    "slowfast_r101_4x16": ((32, 224, 224), 2304, "62.83", None, None, ZOO),  # the weights of 8 x 8
    "r2plus1d_18": ((16, 112, 112), 512, "31.505325", 40.519, (16, 112, 112), TORCHVISION),
    "r2plus1d_r50": ((16, 224, 224), 2048, "28.11", 76.45, (16, 256, 256), ZOO),
    "csn_r101": ((32, 224, 224), 2048, "22.21", 75.62, (32, 256, 256), ZOO),
    "x3d_xs": ((4, 160, 160), 2048, "3.8", 0.60, (4, 160, 160), X3D),
    "x3d_s": ((13, 160, 160), 2048, "3.8", 1.96, (13, 160, 160), X3D),
    "x3d_m": ((16, 224, 224), 2048, "3.8", 4.73, (16, 224, 224), X3D),
    "x3d_l": ((16, 312, 312), 2048, "6.2", 18.37, (16, 312, 312), X3D),
    "s3d": ((64, 224, 224), 1024, "8.320048", 17.979, (16, 224, 224), TORCHVISION),
    "s3d_g": ((64, 224, 224), 1024, None, None, None, "gates of torchvision's s3d: see test_feature_gates.py"),
    "mvit_v1_b": ((16, 224, 224), 768, "36.610672", 70.599, (16, 224, 224), TORCHVISION),
    "mvit_v2_s": ((16, 224, 224), 768, "34.537744", 64.224, (16, 224, 224), TORCHVISION),
}
# A small input of each kind of network, and what makes it so where it is not the input alone.
SMALL = {
    "i3d_nl_r50": ((4, 32, 32), {}),
    "c2d_r50": ((2, 32, 32), {}),
    "slowfast_r50": ((8, 32, 32), {"stem_dim_out": 16}),
    "slowfast_r50_64": ((16, 32, 32), {"stem_dim_out": 16}),
    "r2plus1d_18": ((4, 24, 24), {}),
    "r2plus1d_r50": ((4, 32, 32), {}),
    "csn_r101": ((4, 16, 16), {}),
    "x3d_xs": ((4, 32, 32), {}),
    "s3d": ((16, 32, 32), {}),
    "s3d_g": ((16, 32, 32), {}),
    "mvit_v1_b": ((4, 32, 32), {"temporal_size": 4, "spatial_size": [32, 32]}),
    "mvit_v2_s": ((4, 32, 32), {"temporal_size": 4, "spatial_size": [32, 32]}),
}


@pytest.fixture(scope="module")
def specs():
    """What each group composes to."""
    found = {}
    with initialize_config_dir(str(Path(eztorch.__file__).parent / "configs"), version_base=None):
        for group in GROUPS:
            spec = OmegaConf.to_container(compose(f"model/trunk/{group}")["model"]["trunk"])
            assert list(problems(spec)) == []
            found[group] = spec
    return found


@pytest.fixture(scope="module")
def on_meta(specs):
    """Networks of the groups without memory, the same ones for all tests: with features, or with 400 classes."""

    @functools.cache
    def built(group, classes=0):
        with torch.device("meta"):
            return build(with_classes(specs[group]) if classes else specs[group]).eval()

    return built


def with_classes(spec):
    """The same network with a classifier of 400 classes."""
    if "head" in spec:
        return {**spec, "head": {**spec["head"], "num_classes": 400}}
    return {**spec, "num_classes": 400}


@pytest.mark.parametrize("group", GROUPS)
def test_groups__give_features_of_their_native_input(group, on_meta):
    native, num_features, *_ = GROUPS[group]
    network = on_meta(group)
    assert network.num_features == num_features
    assert network(torch.empty(2, 3, *native, device="meta")).shape == (2, num_features)


@pytest.mark.parametrize("group", [group for group, (_, _, millions, *_) in GROUPS.items() if millions])
def test_groups__have_the_published_parameters_and_cost(group, on_meta):
    _, _, millions, multiply_adds, shape, _ = GROUPS[group]
    classifier = on_meta(group, 400)
    digits = len(millions.partition(".")[2])
    assert f"{sum(p.numel() for p in classifier.parameters()) / 1e6:.{digits}f}" == millions
    if multiply_adds is not None:
        with FlopCounterMode(display=False) as counter:
            assert classifier(torch.empty(1, 3, *shape, device="meta")).shape == (1, 400)
        # What is published counts normalisations, too, which torch's counter leaves out.
        assert counter.get_total_flops() / 2e9 == pytest.approx(multiply_adds, rel=0.03)


@pytest.mark.parametrize("group", GROUPS)
def test_groups__every_parameter_has_a_layer_in_the_order_of_the_network(group, on_meta):
    network = on_meta(group, 400)
    layers = [network.get_param_layer_id(name) for name, _ in network.named_parameters()]
    assert set(layers) == set(range(network.num_layers))
    if "slowfast" not in group:  # whose pathways come one after the other
        assert layers == sorted(layers)
    assert layers[-1] == network.num_layers - 1
    assert network.learnable_params == list(network.parameters())


def small(spec, options):
    torch.manual_seed(0)
    return build({**spec, **options})


@pytest.mark.parametrize("group", SMALL)
def test_groups__learn_save_and_load(group, specs):
    shape, options = SMALL[group]
    network = small(specs[group], options)
    clips = torch.randn(2, 3, *shape)
    before = clips.clone()
    with torch.no_grad():
        expected = network.eval()(clips)
        scale = expected.abs().max()
        assert not torch.allclose(expected[0] / scale, expected[1] / scale)
        network.to(memory_format=torch.channels_last_3d)
        last = network(clips.to(memory_format=torch.channels_last_3d))
        torch.testing.assert_close(last / scale, expected / scale, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = network(clips).float()
        torch.testing.assert_close(coarse / scale, expected / scale, rtol=0.1, atol=0.05)

    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    features = network.train()(clips)
    assert features.shape == (2, network.num_features)
    features.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)  # normalisations of two values have steep gradients
    optimizer.step()
    assert torch.equal(clips, before)

    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    with torch.device("meta"):
        other = build({**specs[group], **options})
    other.load_state_dict(torch.load(file, weights_only=True), assign=True)
    with torch.no_grad():
        trained = network.eval()(clips)
        assert trained.isfinite().all()
        torch.testing.assert_close(other.eval()(clips), trained)


def hub():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pytorchvideo's imports
        return importlib.import_module("pytorchvideo.models.hub")


@pytest.mark.parametrize("group", ["slow_r50", "c2d_r50", "i3d_r50", "slowfast_r50", "slowfast_r101"])
def test_groups__have_the_weights_of_pytorchvideo(group, on_meta):
    with torch.device("meta"):
        theirs = {name: value.shape for name, value in getattr(hub(), group)().state_dict().items()}
    ours = {name: value.shape for name, value in on_meta(group, 400).state_dict().items()}
    if "slowfast" not in group:
        last = 6 if "blocks.6.proj.weight" in theirs else 5
        ours = {name.removeprefix("model.").replace("head.", f"blocks.{last}."): value for name, value in ours.items()}
    assert ours == theirs


@pytest.mark.parametrize("group", ["c2d_r50", "i3d_r50", "slowfast_r50"])
def test_groups__compute_what_pytorchvideo_does(group, specs):
    clips = torch.randn(2, 3, 32 if group == "slowfast_r50" else 8, 32, 32)
    if group == "slowfast_r50":
        theirs = hub().slowfast_r50(stem_dim_outs=(16, 2), head_pool_kernel_sizes=((8, 1, 1), (32, 1, 1)))
        ours = small(with_classes(specs[group]), {"stem_dim_out": 16})
    else:
        theirs = getattr(hub(), group)(stem_dim_out=16, head=None)
        ours = small(specs[group]["model"], {"stem_dim_out": 16})
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1)  # the last of a block begins at 0
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for mode in (True, False):
            torch.manual_seed(1)  # of the dropout
            given = [clips[:, :, torch.linspace(0, 31, 8).long()], clips] if group == "slowfast_r50" else clips
            expected = theirs.train(mode)(given)
            torch.manual_seed(1)
            torch.testing.assert_close(ours.train(mode)(clips), expected, rtol=1e-3, atol=1e-4)
