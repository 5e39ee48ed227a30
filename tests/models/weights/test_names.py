import pytest

from eztorch.models.weights import common_names, origin


@pytest.mark.parametrize(
    ("common", "names"),
    [
        (
            "stem.conv.weight",
            ["conv1.weight", "conv1.conv.weight", "blocks.0.conv.weight", "s1.pathway0_stem.conv.weight"],
        ),
        ("stem.norm.bias", ["bn1.bias", "conv1.bn.bias", "blocks.0.norm.bias", "s1.pathway0_stem.bn.bias"]),
        ("fast.stem.conv.weight", ["fast_path.conv1.conv.weight", "s1.pathway1_stem.conv.weight"]),
        (
            "stage3.5.conv2.weight",
            ["layer3.5.conv2.weight", "layer3.5.conv2.conv.weight", "s4.pathway0_res5.branch2.b.weight"],
        ),
        ("stage1.0.shortcut.conv.weight", ["layer1.0.downsample.0.weight", "layer1.0.downsample.conv.weight"]),
        ("stage1.0.shortcut.norm.weight", ["layer1.0.downsample.1.weight", "s2.pathway0_res0.branch1_bn.weight"]),
        ("fuse0.conv.weight", ["s1_fuse.conv_f2s.weight", "slow_path.conv1_lateral.conv.weight"]),
        ("fuse2.conv.weight", ["s3_fuse.conv_f2s.weight", "slow_path.layer2_lateral.conv.weight"]),
        ("stage2.1.non_local.conv_phi.bias", ["s3.pathway0_nonlocal1.conv_phi.bias"]),
        ("stage2.1.non_local.conv_g.bias", ["layer2.1.non_local_block.g.0.conv.bias"]),
        (
            "classifier.weight",
            [
                "fc.weight",
                "head.weight",
                "head.1.weight",
                "heads.head.weight",
                "head.projection.weight",
                "cls_head.fc_cls.weight",
            ],
        ),
        (
            "blocks.3.attn.qkv.bias",
            ["blocks.3.attn.qkv.bias", "encoder.layers.encoder_layer_3.self_attention.in_proj_bias"],
        ),
        (
            "blocks.3.mlp.fc2.weight",
            ["encoder.layers.encoder_layer_3.mlp.3.weight", "encoder.layers.encoder_layer_3.mlp.linear_2.weight"],
        ),
        ("patch_embed.proj.weight", ["conv_proj.weight", "patch_embed.projection.weight"]),
        ("anything.else", ["anything.else"]),
    ],
)
def test_common_names__agree_between_libraries(common, names):
    assert {common_names([name])[name] for name in names} == {common}


def test_common_names__count_stages_and_not_what_stands_between_them():
    plain = [f"blocks.{i}.res_blocks.0.branch2.conv_a.weight" for i in (1, 2, 3, 4)]
    pooled = [f"blocks.{i}.res_blocks.0.branch2.conv_a.weight" for i in (1, 3, 4, 5)]
    stem, head = "blocks.0.conv.weight", "blocks.{}.proj.weight"
    one = common_names([stem, *plain, head.format(5)])
    other = common_names([stem, *pooled, head.format(6)])
    assert list(one.values()) == list(other.values())
    assert list(other.values())[-2:] == ["stage4.0.conv1.weight", "classifier.weight"]


def test_common_names__x3d_of_pyslowfast_is_that_of_pytorchvideo():
    block, stem = "blocks.1.res_blocks.1.branch2.norm_b", "blocks.0.conv"
    pairs = {
        "s1.pathway0_stem.conv_xy.weight": f"{stem}.conv_t.weight",  # the kernel over space, in spite of its name
        "s1.pathway0_stem.conv.weight": f"{stem}.conv_xy.weight",
        "s2.pathway0_res1.branch2.se.fc1.weight": f"{block}.1.block.0.weight",
        "s2.pathway0_res1.branch2.b_bn.bias": f"{block}.0.bias",
        "head.conv_5.weight": "blocks.5.pool.pre_conv.weight",
        "head.projection.weight": "blocks.5.proj.weight",
    }
    assert list(common_names(pairs).values()) == list(common_names(pairs.values()).values())


def test_common_names__no_two_weights_of_a_network_share_one():
    names = [
        f"s{s}.pathway{p}_res{i}.branch2.{x}.weight" for s in (2, 3) for p in (0, 1) for i in (0, 1) for x in "abc"
    ]
    assert len(set(common_names(names).values())) == len(names)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("momentum_trunk.conv1.weight", "eztorch's predecessor"),
        ("target.trunk.conv1.weight", "eztorch"),
        ("backbone.layer1.0.conv1.weight", "solo-learn"),
        ("backbone.4.0.conv1.weight", "lightly"),
        ("backbone.layer1.0.conv1.conv.weight", "mmaction2"),
        ("blocks.1.res_blocks.0.branch2.conv_a.weight", "pytorchvideo"),
        ("blocks.0.attn.qkv.weight", "timm (vision transformer)"),
        ("x.weight", "unknown format"),
    ],
)
def test_origin__is_told_by_the_names(name, library):
    assert origin(["a.bias", name]) == library
