"""Heads that stand on a trunk or on its features. Each tells `input_dim`, `output_dim` and its layers."""

from eztorch.models.heads.linear import LinearHead
from eztorch.models.heads.mlp import MLPHead
from eztorch.models.heads.prototypes import DINOHead, PrototypeHead
from eztorch.models.heads.video_resnet import (
    VideoResNetHead,
    VideoResNetTemporalHead,
    create_video_resnet_head,
    create_video_resnet_temporal_head,
)

__all__ = [
    "DINOHead",
    "LinearHead",
    "MLPHead",
    "PrototypeHead",
    "VideoResNetHead",
    "VideoResNetTemporalHead",
    "create_video_resnet_head",
    "create_video_resnet_temporal_head",
]
