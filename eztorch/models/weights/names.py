"""Names of weights: what the libraries call the same thing.

`common_names` gives the names of a network the form in which all libraries agree, on both sides: a weight of a file and
one of a network belong together when their common names are equal. Common names of a residual network are `stem.conv`,
`stem.norm`, `stage1.0.conv1`, `stage1.0.norm1`, `stage1.0.shortcut.conv` and `classifier`, those of a second pathway
begin with `fast.`, lateral connections are `fuse0.conv`; those of vision transformers are timm's, those of Swin
transformers and of TimeSformer their authors', those of BN-Inception ours. A name that no rule knows stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_LETTERS = (("a", "1"), ("b", "2"), ("c", "3"))
_STAGES = (("2", "1"), ("3", "2"), ("4", "3"), ("5", "4"))  # PySlowFast's s2 is the first stage

_Rules = tuple[tuple[str, str], ...]

# Which pathway: the slow one has the names of a network that has one alone.
_PATHWAYS: _Rules = (
    (r"blocks\.(\d+)\.multipathway_blocks\.0\.", r"blocks.\1."),
    (r"blocks\.(\d+)\.multipathway_blocks\.1\.", r"fast.blocks.\1."),
    (r"s(\d)\.pathway0_", r"s\1."),
    (r"s(\d)\.pathway1_", r"fast.s\1."),
    (r"slow_path\.", ""),
    (r"fast_path\.", "fast."),
)
_TORCHVISION: _Rules = (
    (r"(fast\.)?conv1\.(?=weight$|bias$)", r"\1stem.conv."),
    (r"(fast\.)?bn1\.", r"\1stem.norm."),
    (r"(fast\.)?layer(\d)\.(\d+)\.conv(\d)\.(?=weight$|bias$)", r"\1stage\2.\3.conv\4."),
    (r"(fast\.)?layer(\d)\.(\d+)\.bn(\d)\.", r"\1stage\2.\3.norm\4."),
    (r"(fast\.)?layer(\d)\.(\d+)\.(?:downsample|shortcut)\.0\.", r"\1stage\2.\3.shortcut.conv."),
    (r"(fast\.)?layer(\d)\.(\d+)\.(?:downsample|shortcut)\.1\.", r"\1stage\2.\3.shortcut.norm."),
    (r"fc\.(?=weight$|bias$)", "classifier."),
)
_MMACTION: _Rules = (
    (r"(fast\.)?conv1\.conv\.", r"\1stem.conv."),
    (r"(fast\.)?conv1\.bn\.", r"\1stem.norm."),
    (r"(fast\.)?layer(\d)\.(\d+)\.conv(\d)\.conv\.(?:net\.)?", r"\1stage\2.\3.conv\4."),  # `net`: shifted (TSM)
    (r"(fast\.)?layer(\d)\.(\d+)\.conv(\d)\.bn\.", r"\1stage\2.\3.norm\4."),
    (r"(fast\.)?layer(\d)\.(\d+)\.downsample\.conv\.", r"\1stage\2.\3.shortcut.conv."),
    (r"(fast\.)?layer(\d)\.(\d+)\.downsample\.bn\.", r"\1stage\2.\3.shortcut.norm."),
    (r"conv1_lateral\.conv\.", "fuse0.conv."),
    (r"conv1_lateral\.bn\.", "fuse0.norm."),
    (r"layer(\d)_lateral\.conv\.", r"fuse\1.conv."),
    (r"layer(\d)_lateral\.bn\.", r"fuse\1.norm."),
    (r"layer(\d)\.(\d+)\.non_local_block\.(theta|phi|g)\.(?:conv\.|0\.conv\.)?", r"stage\1.\2.non_local.conv_\3."),
    (r"layer(\d)\.(\d+)\.non_local_block\.conv_out\.conv\.", r"stage\1.\2.non_local.conv_out."),
    (r"layer(\d)\.(\d+)\.non_local_block\.conv_out\.bn\.", r"stage\1.\2.non_local.norm."),
    (r"(?:cls_head\.)?fc_cls\.", "classifier."),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"blocks\.(\d+)\.mlp\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"blocks\.(\d+)\.mlp\.layers\.1\.", r"blocks.\1.mlp.fc2."),
)
_PYTORCHVIDEO: _Rules = (
    (r"(fast\.)?blocks\.0\.(conv|norm)\.", r"\1stem.\2."),
    *(
        rule
        for letter, number in _LETTERS
        for rule in (
            (rf"(fast\.)?blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.conv_{letter}\.", rf"\1stage\2.\3.conv{number}."),
            # X3D keeps its squeeze and excitation beside the second normalisation.
            (rf"blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.norm_{letter}\.0\.", rf"stage\1.\2.norm{number}."),
            (rf"blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.norm_{letter}\.1\.block\.0\.", r"stage\1.\2.se.fc1."),
            (rf"blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.norm_{letter}\.1\.block\.2\.", r"stage\1.\2.se.fc2."),
            (rf"(fast\.)?blocks\.(\d+)\.res_blocks\.(\d+)\.branch2\.norm_{letter}\.", rf"\1stage\2.\3.norm{number}."),
        )
    ),
    (r"(fast\.)?blocks\.(\d+)\.res_blocks\.(\d+)\.branch1_(conv|norm)\.", r"\1stage\2.\3.shortcut.\4."),
    (r"blocks\.(\d+)\.res_blocks\.(\d+)\.non_local\.", r"stage\1.\2.non_local."),
    (r"blocks\.(\d+)\.multipathway_fusion\.conv_fast_to_slow\.", r"fuse\1.conv."),
    (r"blocks\.(\d+)\.multipathway_fusion\.norm\.", r"fuse\1.norm."),
    (r"blocks\.\d+\.pool\.(pre_conv|pre_norm|post_conv)\.", r"head.\1."),
    (r"blocks\.\d+\.proj\.", "classifier."),
    (r"head\.proj\.", "classifier."),
)
_PYSLOWFAST: _Rules = (
    (r"s1\.stem\.conv_xy\.", "stem.conv.conv_t."),  # X3D: pytorchvideo has the two names the other way round
    (r"s1\.stem\.conv_t\.", "stem.conv.conv_xy."),  # see _numbered
    (r"(fast\.)?s1\.stem\.conv\.", r"\1stem.conv."),
    (r"(fast\.)?s1\.stem\.bn\.", r"\1stem.norm."),
    *(
        rule
        for old, new in _STAGES
        for rule in (
            *((rf"(fast\.)?s{old}\.res(\d+)\.branch2\.{a}\.", rf"\1stage{new}.\2.conv{n}.") for a, n in _LETTERS),
            *((rf"(fast\.)?s{old}\.res(\d+)\.branch2\.{a}_bn\.", rf"\1stage{new}.\2.norm{n}.") for a, n in _LETTERS),
            (rf"s{old}\.res(\d+)\.branch2\.se\.", rf"stage{new}.\1.se."),
            (rf"(fast\.)?s{old}\.res(\d+)\.branch1\.", rf"\1stage{new}.\2.shortcut.conv."),
            (rf"(fast\.)?s{old}\.res(\d+)\.branch1_bn\.", rf"\1stage{new}.\2.shortcut.norm."),
            (rf"s{old}\.nonlocal(\d+)\.bn\.", rf"stage{new}.\1.non_local.norm."),
            (rf"s{old}\.nonlocal(\d+)\.", rf"stage{new}.\1.non_local."),
            (rf"s{old}_fuse\.conv_f2s\.", f"fuse{new}.conv."),
            (rf"s{old}_fuse\.bn\.", f"fuse{new}.norm."),
        )
    ),
    (r"s1_fuse\.conv_f2s\.", "fuse0.conv."),
    (r"s1_fuse\.bn\.", "fuse0.norm."),
    (r"head\.conv_5\.", "head.pre_conv."),
    (r"head\.conv_5_bn\.", "head.pre_norm."),
    (r"head\.lin_5\.", "head.post_conv."),
    (r"head\.projection\.", "classifier."),
)
_TRANSFORMERS: _Rules = (
    (r"conv_proj\.", "patch_embed.proj."),
    (r"class_token$", "cls_token"),
    (r"encoder\.pos_embedding$", "pos_embed"),
    (r"encoder\.ln\.", "norm."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.", r"blocks.\1.norm\2."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_", r"blocks.\1.attn.qkv."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.", r"blocks.\1.attn.proj."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.", r"blocks.\1.mlp.fc2."),
    (r"heads\.head\.", "classifier."),
    # With a dropout before it (`head.1`), or a pooling (`head.fc`).
    (r"(?:head|heads|classifier|linear|last_linear)\.(?:\d\.|fc\.)?(?=weight$|bias$)", "classifier."),
)
_SWIN_MLP: _Rules = ((r"\.mlp\.0\.", ".mlp.fc1."), (r"\.mlp\.3\.", ".mlp.fc2."))
_TIMESFORMER: _Rules = tuple(  # mmaction2's: attention 0 is the one over time
    (rf"transformer_layers\.layers\.(\d+)\.{theirs}", rf"blocks.\1.{ours}")
    for theirs, ours in (
        (r"attentions\.0\.norm\.", "temporal_norm1."),
        (r"attentions\.0\.attn\.in_proj_", "temporal_attn.qkv."),
        (r"attentions\.0\.attn\.out_proj\.", "temporal_attn.proj."),
        (r"attentions\.0\.temporal_fc\.", "temporal_fc."),
        (r"attentions\.1\.norm\.", "norm1."),
        (r"attentions\.1\.attn\.in_proj_", "attn.qkv."),
        (r"attentions\.1\.attn\.out_proj\.", "attn.proj."),
        (r"ffns\.0\.norm\.", "norm2."),
        (r"ffns\.0\.layers\.0\.0\.", "mlp.fc1."),
        (r"ffns\.0\.layers\.1\.", "mlp.fc2."),
    )
)
_BN_INCEPTION: _Rules = tuple(
    (rf"{theirs}{end}\.", rf"{ours}.{kind}.")
    for theirs, ours in (
        ("conv1_7x7_s2", "stem.conv1"),
        ("conv2_3x3_reduce", "stem.reduce2"),
        ("conv2_3x3", "stem.conv2"),
        (r"inception_(\d\w)_1x1", r"blocks.\1.one"),
        (r"inception_(\d\w)_3x3_reduce", r"blocks.\1.three.reduce"),
        (r"inception_(\d\w)_3x3", r"blocks.\1.three.conv"),
        (r"inception_(\d\w)_double_3x3_reduce", r"blocks.\1.twice.reduce"),
        (r"inception_(\d\w)_double_3x3_([12])", r"blocks.\1.twice.conv\2"),
        (r"inception_(\d\w)_pool_proj", r"blocks.\1.proj"),
    )
    for end, kind in (("", "conv"), ("_bn", "norm"))
)


def _compiled(rules: _Rules) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


_FIRST = _compiled(_PATHWAYS)
_THEN = _compiled(
    (*_TORCHVISION, *_MMACTION, *_PYTORCHVIDEO, *_PYSLOWFAST, *_TRANSFORMERS, *_TIMESFORMER, *_BN_INCEPTION)
)
# What tells where names come from, most telling first.
_ORIGINS = tuple(
    (origin, re.compile(sign))
    for origin, sign in (
        ("eztorch's predecessor", r"momentum_(trunk|projector)\."),
        ("eztorch", r"(target\.)?trunk\.|queue\."),
        ("PySlowFast", r"s1\.pathway0_stem\.|s2\.pathway0_res0\."),
        (
            "mmaction2",
            r"cls_head\.|(.*\.)?transformer_layers\.layers\.0\.|(.*\.)?layer1\.0\.conv1\.conv\.|(.*\.)?patch_embed\.projection\.",
        ),
        ("solo-learn", r"momentum_backbone\.|backbone\.(layer1|blocks)\."),
        ("lightly", r"backbone\.(\d|vit\.)|backbone_momentum\."),
        ("pytorchvideo", r"(.*\.)?blocks\.\d+\.(res_blocks|multipathway_blocks)\."),
        ("torchvision (vision transformer)", r"(.*\.)?encoder\.layers\.encoder_layer_0\."),
        ("torchvision (Swin)", r"(.*\.)?features\.[01]\.0\.attn\."),
        ("Swin's authors or timm", r"(.*\.)?layers\.0\.blocks\.0\.attn\."),
        ("TimeSformer's authors", r"(.*\.)?blocks\.0\.temporal_attn\."),
        ("TSN (BN-Inception)", r"(.*\.)?inception_3a_1x1\."),
        ("timm (vision transformer)", r"(.*\.)?blocks\.0\.attn\.qkv\."),
        ("torchvision or timm (residual network)", r"(.*\.)?layer1\.0\.conv1\.weight"),
    )
)
KNOWN_FORMATS = (
    "eztorch, its predecessor, torchvision, timm, pytorchvideo, PySlowFast, mmaction2, solo-learn, lightly, and the "
    "authors of TSN, TimeSformer and Swin"
)


def origin(names: Iterable[str]) -> str:
    """Say which library names look like.

    >>> origin(["s1.pathway0_stem.conv.weight", "head.projection.weight"])
    'PySlowFast'
    """
    listed = list(names)
    found = (label for label, sign in _ORIGINS if any(sign.match(name) for name in listed))
    return next(found, "unknown format")


def common_names(names: Iterable[str]) -> dict[str, str]:
    """Give the names of a network the form in which all libraries agree.

    Args:
        names: All names of the network, without what stands before them in a larger model.

    Returns:
        The common name of each name.

    >>> common_names(["layer1.0.bn2.bias"]), common_names(["s2.pathway0_res0.branch2.b_bn.bias"])
    ({'layer1.0.bn2.bias': 'stage1.0.norm2.bias'}, {'s2.pathway0_res0.branch2.b_bn.bias': 'stage1.0.norm2.bias'})
    """
    listed = list(names)
    numbered = _numbered(listed)
    return {name: _common(numbered.get(name, name)) for name in listed}


@lru_cache(maxsize=1 << 17)
def _common(name: str) -> str:
    """Return the common name of a numbered name: the pathway first, then one rule.

    >>> _common("s1.pathway1_stem.conv.weight")
    'fast.stem.conv.weight'
    """
    for rules in (_FIRST, _THEN):
        for pattern, replacement in rules:
            if pattern.match(name):
                name = pattern.sub(replacement, name, count=1)
                break
    return name


def _numbered(names: list[str]) -> dict[str, str]:
    """Return names that say by themselves what all names together say, those that change.

    Only the parts of a list of modules that have weights count, so that a pooling between them shifts nothing: in
    pytorchvideo's `blocks.N`, I3D has one between stages; a residual network that was cut into a list of its children
    (`nn.Sequential(*list(net.children())[:-1])`, the backbones of lightly) may have an activation, too.

    >>> _numbered(["0.weight", "1.bias", "4.0.conv1.weight"])["4.0.conv1.weight"]
    'layer1.0.conv1.weight'
    """
    if names and all(re.match(r"\d+\.", name) for name in names) and any(".conv1." in name for name in names):
        parts = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
        ranks = _ranks(names, r"(\d+)\.")
        place = {number: parts[rank] for number, rank in ranks.items() if rank < len(parts)}
        return {
            name: f"{place[number]}.{rest}"
            for name in names
            for number, _, rest in [name.partition(".")]
            if number in place
        }
    if any(".res_blocks." in name for name in names):
        ranks = _ranks(names, r"blocks\.(\d+)\.")
        return {name: re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{ranks[found[1]]}.", name) for name in names}
    if "s1.pathway0_stem.conv_xy.weight" in names:  # X3D: `conv`, elsewhere the whole stem, is the half over time
        return {"s1.pathway0_stem.conv.weight": "s1.pathway0_stem.conv_t.weight"}
    if any(re.search(r"\.attn\.(relative_position_bias_table|logit_scale)$", name) for name in names):
        return _swin_names(names)
    return {}


def _swin_names(names: list[str]) -> dict[str, str]:
    """Return the names of a Swin transformer as its authors have them, the merging of patches behind a stage.

    torchvision has stages and mergings in one list, for images the patch embedding before them; timm has the merging
    before the next stage.

    >>> list(_swin_names(["features.0.2.bias", "features.1.0.mlp.3.bias", "features.2.norm.bias"]).values())
    ['patch_embed.norm.bias', 'layers.0.blocks.0.mlp.fc2.bias', 'layers.0.downsample.norm.bias']
    """
    for_clips = any(name.startswith("features.0.0.attn.") for name in names)
    before_a_stage = not any(name.startswith("layers.0.downsample.") for name in names)
    found = {}
    for name in names:
        if match := re.match(r"features\.(\d+)\.(.+)", name):
            place, rest = int(match[1]) - (not for_clips), match[2]
            part = "patch_embed" if place < 0 else f"layers.{place // 2}.{('blocks', 'downsample')[place % 2]}"
            for old, new in ((r"0\.(?=\w+$)", "proj."), (r"2\.(?=\w+$)", "norm.")) if place < 0 else _SWIN_MLP:
                rest = re.sub(old, new, rest)
            found[name] = f"{part}.{rest}"
        elif before_a_stage and (match := re.match(r"layers\.(\d+)\.(downsample\..+)", name)):
            found[name] = f"layers.{int(match[1]) - 1}.{match[2]}"
    return found


def _ranks(names: list[str], pattern: str) -> dict[str, int]:
    """Return the place of each number that the pattern finds among all of them."""
    numbers = {found[1] for name in names if (found := re.match(pattern, name))}
    return {number: rank for rank, number in enumerate(sorted(numbers, key=int))}
