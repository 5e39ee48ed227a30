"""Groups of trunks for clips and images: composed, counted, and run as a user has them."""

import functools
import importlib
import io
import re
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
MVFNET = "https://github.com/whwu95/MVFNet/blob/main/configs/MVFNet/K400/mvf_kinetics400_2d_rgb_r50_dense.py"
VIVIT = "table 2 of arXiv 2103.15691"

# group: native input, features, published millions of parameters with 400 classes (images: 1000), multiply-adds in 1e9
# and of which input, source.
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
    "swin3d_t": ((32, 224, 224), 768, "28.158070", 43.882, (16, 224, 224), TORCHVISION),
    "swin3d_s": ((32, 224, 224), 768, "49.816678", 82.841, (16, 224, 224), TORCHVISION),
    "swin3d_b": ((32, 224, 224), 1024, "88.048984", 140.667, (16, 224, 224), TORCHVISION),
    "vivit_base": ((32, 224, 224), 768, "115.1", 284.4, (32, 224, 224), VIVIT),
    "timesformer_base": ((8, 224, 224), 768, None, None, None, "see test_timesformer.py"),
    "tsn_bninception": ((8, 224, 224), 1024, None, None, None, "see test_bn_inception.py"),
    "tsn_inception_resnet_v2": ((3, 299, 299), 1536, None, None, None, "see test_timm_networks.py"),
    "vit_base_video": ((16, 224, 224), 768, None, None, None, "see test_vit.py"),
    "resnet3d": ((8, 112, 112), 512, None, None, None, "see test_resnet3d.py"),
    "vit_base": ((224, 224), 768, None, None, None, "see test_vit.py"),
    "resnet50": ((224, 224), 2048, "25.557032", 4.089, (224, 224), TORCHVISION),
    "swin_t": ((224, 224), 768, "28.288354", 4.491, (224, 224), TORCHVISION),
    "swin_s": ((224, 224), 768, "49.606258", 8.741, (224, 224), TORCHVISION),
    "swin_b": ((224, 224), 1024, "87.768224", 15.431, (224, 224), TORCHVISION),
    "swin_v2_t": ((256, 256), 768, "28.351570", 5.94, (256, 256), TORCHVISION),
    "swin_v2_s": ((256, 256), 768, "49.737442", 11.546, (256, 256), TORCHVISION),
    "swin_v2_b": ((256, 256), 1024, "87.930848", 20.325, (256, 256), TORCHVISION),
    "timm": ((224, 224), 768, "28.59", 4.47, (224, 224), "table 9 of arXiv 2201.03545 and timm's results"),
    "resnet18": ((224, 224), 512, "11.689512", 1.814, (224, 224), TORCHVISION),
    "resnet18_small": ((32, 32), 512, None, None, None, "see test_resnet.py"),
    "vit_tiny_small": ((32, 32), 192, None, None, None, "see test_vit.py"),
    "resnet3d50": ((8, 224, 224), 2048, "32.45", 54.52, (8, 256, 256), ZOO),
    "convnet_tiny": ((32, 32), 128, None, None, None, "ours"),
    "resnet3d_small": ((8, 48, 48), 128, None, None, None, "see test_resnet3d.py"),
    "tsn_r50": ((8, 224, 224), 2048, None, None, None, "of this and those below see test_frame_model.py"),
    "tsm_r50": ((8, 224, 224), 2048, None, 32.88, (8, 224, 224), MMACTION.replace("i3d", "tsm")),
    "trn_r50": ((8, 224, 224), 512, None, None, None, None),
    "mtrn_r50": ((8, 224, 224), 1792, None, None, None, None),
    "mvfnet_r50": ((8, 224, 224), 2048, "24.34", 32.909, (8, 224, 224), MVFNET),
    "tdn_r50": ((40, 224, 224), 2048, None, None, None, None),
    "tada2d_r50": ((8, 224, 224), 2048, None, None, None, None),
}
# Groups whose features are tokens: native input, tokens of a sample and their length.
TOKENS = {
    "resnet3d50_tokens": ((8, 224, 224), (8, 2048)),
    "vit_tiny_video_tokens": ((8, 112, 112), (4, 192)),
    "vivit_tiny_tokens": ((8, 112, 112), (4, 192)),
}
OTHERS = {
    "with_head": "a trunk and a head that are chosen: see test_video_head_model.py and tests/configs/test_heads.py",
}
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}  # of transformers
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
    "swin3d_t": ((4, 32, 32), {}),
    "vivit_base": ((4, 32, 32), {**TINY, "temporal_depth": 1, "input_size": [4, 32, 32]}),
    "timesformer_base": ((2, 32, 32), {**TINY, "input_size": [2, 32, 32]}),
    "tsn_bninception": ((1, 64, 64), {}),
    "vit_base_video": ((4, 32, 32), TINY),
    "convnet_tiny": ((16, 16), {}),
    "resnet3d_small": ((4, 32, 32), {}),
    "vit_base": ((32, 32), {**TINY, "pool": "token", "positions": "learned", "input_size": [32, 32]}),
    "resnet50": ((32, 32), {"name": "resnet18"}),
    "swin_t": ((32, 32), {}),
    "swin_v2_t": ((32, 32), {}),
    "timm": ((64, 64), {"name": "convnext_atto"}),
}
EXPORTED = (
    *("vit_base", "vit_base_video", "vivit_base", "timesformer_base", "resnet3d_small"),
    *(pytest.param(group, marks=pytest.mark.slow) for group in ("swin_t", "swin_v2_t", "swin3d_t", "tsn_bninception")),
)
# How far bfloat16 may be off. Swin's second version divides cosines by small temperatures.
COARSE = {"swin_v2_t": 0.3}


@pytest.fixture(scope="module")
def specs():
    """What each group composes to."""
    found = {}
    with initialize_config_dir(str(Path(eztorch.__file__).parent / "configs"), version_base=None):
        for group in (*GROUPS, *TOKENS):
            spec = OmegaConf.to_container(compose(f"model/trunk/{group}")["model"]["trunk"])
            assert list(problems(spec)) == []
            found[group] = spec
    return found


@pytest.fixture(scope="module")
def on_meta(specs):
    """Networks of the groups without memory, the same ones for all tests: with features, or with a classifier."""

    @functools.cache
    def built(group, classes=0):
        with torch.device("meta"):
            return build(with_classes(specs[group], classes) if classes else specs[group]).eval()

    return built


def classes_of(group):
    """As many as published figures are of."""
    return 400 if len(GROUPS[group][0]) == 3 else 1000


def with_classes(spec, classes=400):
    """The same network with a classifier."""
    if "head" in spec:
        return {**spec, "head": {**spec["head"], "num_classes": classes}}
    return {**spec, "num_classes": classes}


def test_groups__each_is_tested_and_in_the_table():
    folder = Path(eztorch.__file__).parent / "configs/model/trunk"
    files = {path.stem for path in folder.glob("*.yaml")}
    assert files == {*GROUPS, *TOKENS, *OTHERS}
    table = (Path(__file__).parents[3] / "doc/models.md").read_text()
    assert [name for name in sorted(files) if not re.search(rf"`model/trunk={name}[` ]", table)] == []


@pytest.mark.parametrize("group", TOKENS)
def test_groups__give_tokens_of_their_native_input(group, on_meta):
    native, (count, length) = TOKENS[group]
    network = on_meta(group)
    assert network(torch.empty(2, 3, *native, device="meta")).shape == (2, count, length)
    assert network.num_features == length
    layers = [network.get_param_layer_id(name) for name, _ in network.named_parameters()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(network.num_layers))


@pytest.mark.parametrize("group", GROUPS)
def test_groups__give_features_of_their_native_input(group, on_meta):
    native, num_features, *_ = GROUPS[group]
    network = on_meta(group)
    assert network.num_features == num_features
    assert network(torch.empty(2, 3, *native, device="meta")).shape == (2, num_features)


@pytest.mark.parametrize("group", [group for group, (_, _, *published, _, _) in GROUPS.items() if any(published)])
def test_groups__have_the_published_parameters_and_cost(group, on_meta):
    _, _, millions, multiply_adds, shape, _ = GROUPS[group]
    classifier = on_meta(group, classes_of(group))
    if millions is not None:
        digits = len(millions.partition(".")[2])
        assert f"{sum(p.numel() for p in classifier.parameters()) / 1e6:.{digits}f}" == millions
    if multiply_adds is not None:
        with FlopCounterMode(display=False) as counter:
            assert classifier(torch.empty(1, 3, *shape, device="meta")).shape == (1, classes_of(group))
        # What is published counts normalisations, too, which torch's counter leaves out.
        assert counter.get_total_flops() / 2e9 == pytest.approx(multiply_adds, rel=0.03)


@pytest.mark.parametrize("group", GROUPS)
def test_groups__every_parameter_has_a_layer_in_the_order_of_the_network(group, on_meta):
    network = on_meta(group, classes_of(group))
    layers = [network.get_param_layer_id(name) for name, _ in network.named_parameters()]
    assert set(layers) == set(range(network.num_layers))
    if not group.startswith(("slowfast", "tdn")):  # whose pathways come one after the other
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
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        network.to(memory_format=formats[4 if group.startswith("tsn") else clips.ndim])
        last = network(clips.to(memory_format=formats[clips.ndim]))
        torch.testing.assert_close(last / scale, expected / scale, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = network(clips).float()
        torch.testing.assert_close(coarse / scale, expected / scale, rtol=0.1, atol=COARSE.get(group, 0.05))

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


@pytest.mark.parametrize("group", EXPORTED)
def test_groups__export_for_any_number_of_inputs_and_compile_as_a_whole(group, specs):
    shape, options = SMALL[group]
    network = small(specs[group], options).eval()
    two, three = torch.randn(2, 3, *shape), torch.randn(3, 3, *shape)
    with torch.no_grad():
        program = torch.export.export(network, (two,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
        torch.testing.assert_close(program(three), network(three), rtol=1e-3, atol=1e-4)
        torch.compiler.reset()
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(two), network(two), rtol=1e-3, atol=1e-4)


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
