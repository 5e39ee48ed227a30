"""Networks that learn representations. Each tells `num_features` and its layers, for layer-wise learning rates."""

from eztorch.models.trunks.frame_model import FrameModel, create_frame_model
from eztorch.models.trunks.frame_resnet import create_frame_resnet
from eztorch.models.trunks.resnet import ResNet, create_resnet
from eztorch.models.trunks.resnet3d import ResNet3d, create_resnet3d_basic
from eztorch.models.trunks.slowfast import SlowFast, create_slowfast
from eztorch.models.trunks.tdn import TDNResNet, create_tdn
from eztorch.models.trunks.token_handler import (
    TokenHandler,
    create_transformer_token_handler_model,
    create_vitransformer_token_handler_model,
)
from eztorch.models.trunks.video_head_model import VideoHeadModel, create_video_head_model
from eztorch.models.trunks.video_networks import VideoNetwork, create_video_network
from eztorch.models.trunks.vit import VisionTransformer, create_vit

__all__ = [
    "FrameModel",
    "ResNet",
    "ResNet3d",
    "SlowFast",
    "TDNResNet",
    "TokenHandler",
    "VideoHeadModel",
    "VideoNetwork",
    "VisionTransformer",
    "create_frame_model",
    "create_frame_resnet",
    "create_resnet",
    "create_resnet3d_basic",
    "create_slowfast",
    "create_tdn",
    "create_transformer_token_handler_model",
    "create_video_head_model",
    "create_video_network",
    "create_vit",
    "create_vitransformer_token_handler_model",
]
