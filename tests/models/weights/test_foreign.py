"""Weights of other libraries in our networks: outputs are equal where the architecture is the same."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from foreign_libraries import stir
from torch import nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from eztorch.models.trunks import (
    create_bn_inception,
    create_frame_model,
    create_resnet,
    create_resnet3d_basic,
    create_slowfast,
    create_timesformer,
    create_vit,
)
from eztorch.models.trunks.positions import sine_cosine_positions
from eztorch.models.weights import load_tensors, origin


def assert_same(one, other, x):
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(x), other.eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("library", ["pytorchvideo", "timm", "lightly"])
def test_foreign__of_the_library_itself(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, Path(__file__).with_name("foreign_libraries.py"), library]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "equal"


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_foreign__torchvision_residual_networks_in_ours_for_images(name):
    theirs = stir(torchvision.models.get_model(name, num_classes=5))
    ours = create_resnet(name, num_classes=5)
    report = load_tensors(ours, theirs.state_dict())
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours, theirs, torch.randn(2, 3, 64, 64))


def test_foreign__torchvision_residual_networks_inflate_into_ours_for_clips():
    theirs = stir(torchvision.models.resnet50()).double()  # features of 50 layers of random weights are large
    theirs.fc = nn.Identity()
    ours = create_resnet3d_basic(model_depth=50).double()  # has no stride over time
    report = load_tensors(ours, theirs.state_dict(), inflation="centre")
    assert len(report.inflated) == 53
    assert report.matched["blocks.4.res_blocks.2.branch2.conv_c.weight"] == "layer4.2.conv3.weight"
    frame = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        maps = ours.eval()(frame[:, :, None].expand(-1, -1, 4, -1, -1))
        torch.testing.assert_close(maps.mean(dim=(2, 3, 4)), theirs(frame), rtol=1e-4, atol=1e-4)


def test_foreign__torchvision_vision_transformer():
    theirs = torchvision.models.VisionTransformer(
        image_size=48, patch_size=16, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=192, num_classes=7
    )
    stir(theirs).heads = nn.Identity()
    with torch.no_grad():
        theirs.encoder.pos_embedding[:, :1] = 0
        theirs.encoder.pos_embedding[0, 1:] = sine_cosine_positions((3, 3), 48)
    ours = create_vit("tiny", embed_dim=48, depth=2, num_heads=3, pool="token")
    report = load_tensors(ours, theirs.state_dict())
    assert report.left_over == {"encoder.pos_embedding": "positions: this network has fixed ones"}
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def test_foreign__torchvision_vision_transformer_with_its_own_positions_and_classifier():
    theirs = torchvision.models.VisionTransformer(
        image_size=48, patch_size=16, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=192, num_classes=7
    )
    stir(theirs)
    torch.nn.init.normal_(theirs.heads.head.weight)
    options = {"embed_dim": 48, "depth": 2, "num_heads": 3, "positions": "learned", "num_classes": 7}
    ours = create_vit("tiny", **options, pool="token", input_size=(48, 48))
    report = load_tensors(ours, theirs.state_dict())
    assert (report.missing, report.left_over, report.interpolated) == ([], {}, {})
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))
    without_token = create_vit("tiny", **options, pool="mean", input_size=(48, 48))
    report = load_tensors(without_token, theirs.state_dict())
    assert report.left_over == {"class_token": "this network has no class token"}
    assert torch.equal(without_token.pos_embed, theirs.encoder.pos_embedding[:, 1:])


def small_swin(times=0):
    """Two stages of a Swin transformer of torchvision, for images or for clips."""
    options = {"embed_dim": 12, "depths": [2, 2], "num_heads": [2, 4], "num_classes": 5, "stochastic_depth_prob": 0.0}
    if times:
        return stir(SwinTransformer3d(patch_size=[2, 4, 4], window_size=[times, 3, 3], **options))
    return stir(torchvision.models.SwinTransformer(patch_size=[4, 4], window_size=[3, 3], **options))


# As mmaction/models/backbones/swin.py and the authors' code name theirs, with two stages.
SWIN_RULES = [
    (r"head\.", "cls_head.fc_cls."),
    (r"features\.0\.(\d)\.mlp\.0\.", r"backbone.layers.0.blocks.\1.mlp.fc1."),
    (r"features\.0\.(\d)\.mlp\.3\.", r"backbone.layers.0.blocks.\1.mlp.fc2."),
    (r"features\.2\.(\d)\.mlp\.0\.", r"backbone.layers.1.blocks.\1.mlp.fc1."),
    (r"features\.2\.(\d)\.mlp\.3\.", r"backbone.layers.1.blocks.\1.mlp.fc2."),
    (r"features\.0\.", "backbone.layers.0.blocks."),
    (r"features\.1\.", "backbone.layers.0.downsample."),
    (r"features\.2\.", "backbone.layers.1.blocks."),
    (r"", "backbone."),
]


def test_foreign__mmaction2_video_swin():
    source, ours = small_swin(times=2), small_swin(times=2)
    torch.nn.init.zeros_(ours.features[0][0].attn.qkv.weight)
    state = renamed(source.state_dict(), SWIN_RULES)
    assert origin(state) == "mmaction2"
    report = load_tensors(ours, state)
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours, source, torch.randn(1, 3, 8, 32, 32))


def test_foreign__torchvision_swin_for_images_inflates_into_the_one_for_clips():
    images, clips = small_swin(), small_swin(times=2)
    report = load_tensors(clips, images.state_dict())
    assert list(report.inflated) == ["patch_embed.proj.weight"]
    assert [name for name in report.missing if "relative_position_index" not in name] == []
    frame = torch.randn(1, 3, 36, 36)
    with torch.no_grad():
        still = clips.eval()(frame[:, :, None].expand(-1, -1, 4, -1, -1))
        torch.testing.assert_close(still, images(frame), rtol=1e-4, atol=1e-4)


# As mmaction/models/backbones/timesformer.py and its layers name theirs, the attention over time being the first.
TIMESFORMER_RULES = [
    (r"head\.", "cls_head.fc_cls."),
    (r"patch_embed\.proj\.", "backbone.patch_embed.projection."),
    *(
        (rf"blocks\.(\d)\.{ours}", rf"backbone.transformer_layers.layers.\1.{theirs}")
        for ours, theirs in (
            (r"temporal_norm1\.", "attentions.0.norm."),
            (r"temporal_attn\.qkv\.", "attentions.0.attn.in_proj_"),
            (r"temporal_attn\.proj\.", "attentions.0.attn.out_proj."),
            (r"temporal_fc\.", "attentions.0.temporal_fc."),
            (r"norm1\.", "attentions.1.norm."),
            (r"attn\.qkv\.", "attentions.1.attn.in_proj_"),
            (r"attn\.proj\.", "attentions.1.attn.out_proj."),
            (r"norm2\.", "ffns.0.norm."),
            (r"mlp\.fc1\.", "ffns.0.layers.0.0."),
            (r"mlp\.fc2\.", "ffns.0.layers.1."),
        )
    ),
    (r"", "backbone."),
]


@pytest.mark.parametrize("library", ["mmaction2", "TimeSformer's authors"])
def test_foreign__timesformer(library):
    options = {"embed_dim": 24, "depth": 2, "num_heads": 3, "input_size": (2, 32, 32), "num_classes": 5}
    source, ours = stir(create_timesformer(**options)), create_timesformer(**options)
    with torch.no_grad():
        for name, value in source.named_parameters():
            if "temporal_fc" in name or name.endswith("_embed"):
                value.normal_()
    rules = TIMESFORMER_RULES if library == "mmaction2" else [(r"", "model.")]
    state = renamed(source.state_dict(), rules)
    kernel = next(name for name in state if name.endswith(("projection.weight", "patch_embed.proj.weight")))
    state[kernel] = state[kernel].squeeze(2)  # a convolution over images there
    assert origin(state) == library
    report = load_tensors(ours, state)
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours, source, torch.randn(2, 3, 2, 32, 32))


# As the bn_inception.py of TSN's and of pretrainedmodels' code name theirs.
BN_INCEPTION_RULES = [
    (rf"{ours}\.{kind}\.", f"base_model.{theirs}{end}.")
    for ours, theirs in (
        (r"stem\.conv1", "conv1_7x7_s2"),
        (r"stem\.reduce2", "conv2_3x3_reduce"),
        (r"stem\.conv2", "conv2_3x3"),
        (r"blocks\.(\w+)\.one", r"inception_\1_1x1"),
        (r"blocks\.(\w+)\.three\.reduce", r"inception_\1_3x3_reduce"),
        (r"blocks\.(\w+)\.three\.conv", r"inception_\1_3x3"),
        (r"blocks\.(\w+)\.twice\.reduce", r"inception_\1_double_3x3_reduce"),
        (r"blocks\.(\w+)\.twice\.conv(\d)", r"inception_\1_double_3x3_\2"),
        (r"blocks\.(\w+)\.proj", r"inception_\1_pool_proj"),
    )
    for kind, end in (("conv", ""), ("norm", "_bn"))
]


def test_foreign__bn_inception_of_tsn():
    source = stir(create_bn_inception(num_classes=5))
    state = renamed(source.state_dict(), [*BN_INCEPTION_RULES, (r"fc\.", "base_model.last_linear.")])
    assert origin(state) == "TSN (BN-Inception)"
    ours = create_frame_model(create_bn_inception(num_classes=5))
    report = load_tensors(ours, state)
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours.network, source, torch.randn(1, 3, 64, 64))


def renamed(state, rules):
    """Names of our networks in those of another library, each by the first rule that fits."""
    found = {}
    for name, value in state.items():
        for pattern, new in rules:
            if re.match(pattern, name):
                found[re.sub(pattern, new, name, count=1)] = value
                break
        else:
            raise AssertionError(f"no rule for {name}")
    return found


# As slowfast/models/{stem_helper,resnet_helper,video_model_builder,head_helper}.py of PySlowFast name their modules.
def slowfast_rules(pathway, ours):
    rules = [
        (rf"blocks\.0\.{ours}conv\.", f"s1.{pathway}_stem.conv."),
        (rf"blocks\.0\.{ours}norm\.", f"s1.{pathway}_stem.bn."),
    ]
    for stage in range(1, 5):
        block = rf"blocks\.{stage}\.{ours}res_blocks\.(\d+)\."
        theirs = rf"s{stage + 1}.{pathway}_res\1."
        rules += [(rf"{block}branch2\.conv_([abc])\.", rf"{theirs}branch2.\2.")]
        rules += [(rf"{block}branch2\.norm_([abc])\.", rf"{theirs}branch2.\2_bn.")]
        rules += [(rf"{block}branch1_conv\.", f"{theirs}branch1."), (rf"{block}branch1_norm\.", f"{theirs}branch1_bn.")]
        non_local = rf"s{stage + 1}.{pathway}_nonlocal\1."
        rules += [(rf"{block}non_local\.norm\.", f"{non_local}bn."), (rf"{block}non_local\.", non_local)]
    for stage in range(4):
        fusion = rf"blocks\.{stage}\.multipathway_fusion\."
        rules += [
            (f"{fusion}conv_fast_to_slow", f"s{stage + 1}_fuse.conv_f2s"),
            (f"{fusion}norm", f"s{stage + 1}_fuse.bn"),
        ]
    return [*rules, (r"blocks\.6\.proj\.", "head.projection.")]


# As mmaction/models/backbones/{resnet3d,resnet3d_slowfast}.py of mmaction2 name theirs.
def mmaction_rules(place, ours):
    rules = [
        (rf"blocks\.0\.{ours}conv\.", f"backbone.{place}conv1.conv."),
        (rf"blocks\.0\.{ours}norm\.", f"backbone.{place}conv1.bn."),
    ]
    for stage in range(1, 5):
        block = rf"blocks\.{stage}\.{ours}res_blocks\.(\d+)\."
        for letter, number in zip("abc", "123", strict=True):
            layer = rf"backbone.{place}layer{stage}.\1.conv{number}"
            rules += [
                (rf"{block}branch2\.conv_{letter}\.", f"{layer}.conv."),
                (rf"{block}branch2\.norm_{letter}\.", f"{layer}.bn."),
            ]
        shortcut = rf"backbone.{place}layer{stage}.\1.downsample"
        rules += [(rf"{block}branch1_conv\.", f"{shortcut}.conv."), (rf"{block}branch1_norm\.", f"{shortcut}.bn.")]
    laterals = ("conv1", "layer1", "layer2", "layer3")
    for stage, lateral in enumerate(laterals):
        theirs = f"backbone.slow_path.{lateral}_lateral.conv."
        rules += [(rf"blocks\.{stage}\.multipathway_fusion\.conv_fast_to_slow\.", theirs)]
    return [*rules, (r"blocks\.6\.proj\.", "cls_head.fc_cls.")]


NARROW = {"model_depth": 50, "stem_dim_out": 8}
SLOW, FAST = r"multipathway_blocks\.0\.", r"multipathway_blocks\.1\."


@pytest.mark.parametrize("arguments", [{}, {"non_local": [[], [1, 3], [], []]}], ids=["slow", "non-local"])
def test_foreign__pyslowfast_networks_of_one_pathway(arguments):
    source = stir(create_resnet3d_basic(**NARROW, **arguments))
    state = renamed(source.state_dict(), slowfast_rules("pathway0", ""))
    state["head.projection.weight"] = torch.zeros(400, 256)
    assert origin(state) == "PySlowFast"
    ours = create_resnet3d_basic(**NARROW, **arguments)
    report = load_tensors(ours, state)
    assert (report.missing, report.left_over) == ([], {"head.projection.weight": "classifier"})
    assert_same(ours, source, torch.randn(1, 3, 4, 32, 32))


def test_foreign__pyslowfast_slowfast_with_its_classifier():
    source = stir(create_slowfast(stem_dim_out=16, num_classes=5))
    rules = [*slowfast_rules("pathway0", SLOW), *slowfast_rules("pathway1", FAST)]
    ours = create_slowfast(stem_dim_out=16, num_classes=5)
    report = load_tensors(ours, renamed(source.state_dict(), rules))
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours, source, torch.randn(1, 3, 8, 32, 32))


def test_foreign__mmaction2_networks_of_one_pathway():
    source = stir(create_resnet3d_basic(**NARROW))
    state = renamed(source.state_dict(), mmaction_rules("", ""))
    state |= {"cls_head.fc_cls.weight": torch.zeros(400, 256), "cls_head.fc_cls.bias": torch.zeros(400)}
    assert origin(state) == "mmaction2"
    ours = create_resnet3d_basic(**NARROW)
    report = load_tensors(ours, state)
    assert report.missing == []
    assert report.left_over == dict.fromkeys(("cls_head.fc_cls.weight", "cls_head.fc_cls.bias"), "classifier")
    assert_same(ours, source, torch.randn(1, 3, 4, 32, 32))


def test_foreign__mmaction2_slowfast_whose_lateral_connections_have_no_normalisation():
    options = {"stem_dim_out": 16, "lateral_norm": False, "num_classes": 3}
    source = stir(create_slowfast(**options))
    ours = create_slowfast(**options)
    rules = [*mmaction_rules("slow_path.", SLOW), *mmaction_rules("fast_path.", FAST)]
    report = load_tensors(ours, renamed(source.state_dict(), rules))
    assert (report.missing, report.left_over) == ([], {})
    assert_same(ours, source, torch.randn(1, 3, 8, 32, 32))


def test_foreign__mmaction2_shifted_networks_for_images():
    source = stir(torchvision.models.resnet18())
    source.fc = nn.Identity()
    state = {}
    for name, value in source.state_dict().items():
        name = re.sub(r"downsample\.0", "downsample.conv", re.sub(r"downsample\.1", "downsample.bn", name))
        name = re.sub(r"\bbn(\d)", r"conv\1.bn", re.sub(r"\bconv(\d)\.weight", r"conv\1.conv.weight", name))
        state["backbone." + name.replace("0.conv1.conv.", "0.conv1.conv.net.")] = (
            value  # TSM wraps the first of a block
        )
    assert "backbone.layer1.0.conv1.conv.net.weight" in state
    assert "backbone.layer1.0.conv1.bn.running_var" in state
    ours = create_resnet("resnet18", num_classes=0)
    assert load_tensors(ours, state).missing == []
    assert_same(ours, source, torch.randn(2, 3, 64, 64))


def test_foreign__mmaction2_and_videomae_transformers_keep_the_biases_of_queries_and_values_apart():
    source = stir(create_vit("tiny", patch=(2, 16, 16), depth=2))
    rules = (
        (r"patch_embed\.proj\.", "patch_embed.projection."),
        (r"mlp\.fc1\.", "mlp.layers.0.0."),
        (r"mlp\.fc2\.", "mlp.layers.1."),
    )
    mmaction, original = {}, {}
    for name, value in source.state_dict().items():
        if name.endswith("qkv.bias"):
            value[192:384] = 0  # keys have none there
            parts = {"q_bias": value[:192].clone(), "v_bias": value[384:].clone()}
        else:
            parts = {name.rpartition(".")[2]: value}
        for part, kept in parts.items():
            stem = name.removesuffix("qkv.bias") if name.endswith("qkv.bias") else name.rpartition(".")[0] + "."
            other = stem
            for old, new in rules:
                other = re.sub(old, new, other)
            original["encoder." + stem + part] = kept
            mmaction["backbone." + other + part] = kept
    for state in (mmaction, original):
        ours = create_vit("tiny", patch=(2, 16, 16), depth=2)
        report = load_tensors(ours, state)
        assert (report.missing, report.left_over) == ([], {})
        assert_same(ours, source, torch.randn(1, 3, 4, 32, 32))
    assert origin(mmaction) == "mmaction2"


@pytest.mark.parametrize(
    ("prefix", "others", "label"),
    [
        ("backbone.", ("projector.0", "classifier", "momentum_backbone.conv1"), "solo-learn"),
        ("trunk.", ("projector.layers.0", "momentum_trunk.conv1", "queue"), "eztorch's predecessor"),
        ("trunk.", ("projector.layers.0", "target.trunk.conv1", "queue.features"), "eztorch"),
        ("module.encoder.", ("module.head.0",), "torchvision or timm (residual network)"),
    ],
)
def test_foreign__checkpoints_of_trainers_have_the_network_under_a_prefix(prefix, others, label):
    source = stir(torchvision.models.resnet18())
    source.fc = nn.Identity()
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    state |= {f"{name}.weight": torch.zeros(3, 512) for name in others}
    assert origin(state) == label
    ours = create_resnet("resnet18", num_classes=0)
    report = load_tensors(ours, state)
    assert (report.missing, len(report.other_parts) + len(report.left_over)) == ([], len(others))
    assert_same(ours, source, torch.randn(2, 3, 64, 64))
