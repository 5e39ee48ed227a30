"""Multi-scale vision transformers of torchvision for clips of any size: its own functions know 16 x 224 x 224 alone.

Papers: https://arxiv.org/abs/2104.11227 (MViT-B), https://arxiv.org/abs/2112.01526 (MViTv2-S).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchvision.models.video.mvit import MSBlockConfig, MViT

from eztorch.utils.names import choose

_STAGES = [0] * 1 + [1] * 2 + [2] * 11 + [3] * 2  # of each block
_WIDTHS = (96, 192, 384, 768)  # of each stage
_VERSIONS: dict[str, dict[str, bool]] = {
    "mvit_v1_b": {},
    "mvit_v2_s": {"residual_pool": True, "rel_pos_embed": True, "proj_after_attn": True},
}


def create_mvit(
    name: str,
    *,
    num_classes: int,
    temporal_size: int = 16,
    spatial_size: Sequence[int] = (224, 224),
    stochastic_depth_prob: float = 0.2,
    **options: Any,
) -> MViT:
    """Build torchvision's network, for one size of clips.

    Args:
        name: `mvit_v1_b` or `mvit_v2_s`.
        num_classes: Length of the output.
        temporal_size: Frames of a clip, an even number.
        spatial_size: Height and width of its frames, multiples of 32.
        stochastic_depth_prob: Probability that a residual branch of the last block is dropped; it grows with the depth.
        **options: Further arguments of torchvision's `MViT`.

    Raises:
        ConfigError: The name is not known.
    """
    version = choose(_VERSIONS, name, "name")
    return MViT(
        spatial_size=tuple(spatial_size),
        temporal_size=temporal_size,
        block_setting=_blocks(second=name == "mvit_v2_s"),
        residual_with_cls_embed=False,
        stochastic_depth_prob=stochastic_depth_prob,
        num_classes=num_classes,
        **{"residual_pool": False, "rel_pos_embed": False, "proj_after_attn": False, **version, **options},
    )


def _blocks(*, second: bool) -> list[MSBlockConfig]:
    """Describe the blocks: a stage halves the sides and doubles the channels of the one before it.

    The first version doubles them in the perceptron before a stage, and pools queries only where it halves the sides;
    the second doubles them in the attention that begins a stage, and pools queries everywhere.
    """
    blocks = []
    for i, stage in enumerate(_STAGES):
        before, after = _STAGES[max(i - 1, 0)], _STAGES[min(i + 1, len(_STAGES) - 1)]
        halves = stage > before
        side = 8 // 2**stage
        block = MSBlockConfig(
            num_heads=2**stage,
            input_channels=_WIDTHS[before if second else stage],
            output_channels=_WIDTHS[stage if second else after],
            kernel_q=[3, 3, 3] if second or halves else [],
            kernel_kv=[3, 3, 3],
            stride_q=[1, 2, 2] if halves else [1, 1, 1] if second else [],
            stride_kv=[1, side, side],
        )
        blocks.append(block)
    return blocks
