"""Networks that learn representations. Each tells `num_features` and its layers, for layer-wise learning rates."""

from eztorch.models.trunks.bn_inception import BNInception, create_bn_inception
from eztorch.models.trunks.by_size import (
    create_r2plus1d,
    create_r2plus1d_18,
    create_s3d,
    create_swin_base,
    create_swin_small,
    create_swin_tiny,
    create_vit_base,
    create_vit_small,
    create_vit_tiny,
    create_vivit_base,
    create_vivit_small,
    create_vivit_tiny,
    create_x3d,
)
from eztorch.models.trunks.convnet import ConvNet
from eztorch.models.trunks.frame_model import FrameModel, create_frame_model
from eztorch.models.trunks.frame_resnet import create_frame_resnet
from eztorch.models.trunks.library_network import LibraryNetwork
from eztorch.models.trunks.resnet import ResNet, create_resnet
from eztorch.models.trunks.resnet3d import ResNet3d, create_resnet3d_basic
from eztorch.models.trunks.slowfast import SlowFast, create_slowfast
from eztorch.models.trunks.swin import create_swin
from eztorch.models.trunks.tdn import TDNResNet, create_tdn
from eztorch.models.trunks.timesformer import TimeSformer, create_timesformer
from eztorch.models.trunks.timm_networks import create_model_timm
from eztorch.models.trunks.token_handler import (
    TokenHandler,
    create_transformer_token_handler_model,
    create_vitransformer_token_handler_model,
)
from eztorch.models.trunks.video_head_model import VideoHeadModel, create_video_head_model
from eztorch.models.trunks.video_networks import create_video_network
from eztorch.models.trunks.vit import VisionTransformer, create_vit
from eztorch.models.trunks.vivit import ViViT, create_vivit

__all__ = [
    "BNInception",
    "ConvNet",
    "FrameModel",
    "LibraryNetwork",
    "ResNet",
    "ResNet3d",
    "SlowFast",
    "TDNResNet",
    "TimeSformer",
    "TokenHandler",
    "ViViT",
    "VideoHeadModel",
    "VisionTransformer",
    "create_bn_inception",
    "create_frame_model",
    "create_frame_resnet",
    "create_model_timm",
    "create_r2plus1d",
    "create_r2plus1d_18",
    "create_resnet",
    "create_resnet3d_basic",
    "create_s3d",
    "create_slowfast",
    "create_swin",
    "create_swin_base",
    "create_swin_small",
    "create_swin_tiny",
    "create_tdn",
    "create_timesformer",
    "create_transformer_token_handler_model",
    "create_video_head_model",
    "create_video_network",
    "create_vit",
    "create_vit_base",
    "create_vit_small",
    "create_vit_tiny",
    "create_vitransformer_token_handler_model",
    "create_vivit",
    "create_vivit_base",
    "create_vivit_small",
    "create_vivit_tiny",
    "create_x3d",
]
