"""Heads that stand on a trunk or on its features; each tells its dimensions, its layers and what it learns."""

from eztorch.models.heads.linear import LinearHead
from eztorch.models.heads.linear3d import Linear3DHead, create_linear3d_head
from eztorch.models.heads.mlp import MLPHead
from eztorch.models.heads.prototypes import DINOHead, IBOTHead, PrototypeHead
from eztorch.models.heads.video_resnet import (
    VideoResNetHead,
    VideoResNetTemporalHead,
    create_video_resnet_head,
    create_video_resnet_temporal_head,
)

__all__ = [
    "DINOHead",
    "IBOTHead",
    "Linear3DHead",
    "LinearHead",
    "MLPHead",
    "PrototypeHead",
    "VideoResNetHead",
    "VideoResNetTemporalHead",
    "create_linear3d_head",
    "create_video_resnet_head",
    "create_video_resnet_temporal_head",
]
