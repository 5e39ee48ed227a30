"""Transforms of clips `(C, T, H, W)`, among them those of pytorchvideo, under their names."""

from eztorch.transforms.on_dict import ApplyTransformToKey, RemoveKey
from eztorch.transforms.video.channels import (
    CHANNEL_SAMPLINGS,
    ChannelSampling,
    GreyST,
    ReverseChannels,
    ToGrey,
    grey,
)
from eztorch.transforms.video.crops import (
    CROP_ORDERS,
    RandomCornerCrop,
    UniformCropVideo,
    crop_at,
    uniform_crop,
)
from eztorch.transforms.video.layout import (
    ConvertFloatToUint8,
    ConvertUint8ToFloat,
    MoveChannelFront,
    MoveChannelRear,
    Permute,
)
from eztorch.transforms.video.spatial import (
    RandomResizedCrop,
    RandomShortSideScale,
    ShortSideScale,
    random_box,
    resize,
    scale_short_side,
)
from eztorch.transforms.video.temporal import (
    RandomTemporalDifference,
    RemoveTimeDim,
    TemporalDifference,
    UniformTemporalSubsample,
    UniformTemporalSubsampleRepeated,
    temporal_difference,
)
from eztorch.transforms.video.values import Div255, Normalize

__all__ = [
    "CHANNEL_SAMPLINGS",
    "CROP_ORDERS",
    "ApplyTransformToKey",
    "ChannelSampling",
    "ConvertFloatToUint8",
    "ConvertUint8ToFloat",
    "Div255",
    "GreyST",
    "MoveChannelFront",
    "MoveChannelRear",
    "Normalize",
    "Permute",
    "RandomCornerCrop",
    "RandomResizedCrop",
    "RandomShortSideScale",
    "RandomTemporalDifference",
    "RemoveKey",
    "RemoveTimeDim",
    "ReverseChannels",
    "ShortSideScale",
    "TemporalDifference",
    "ToGrey",
    "UniformCropVideo",
    "UniformTemporalSubsample",
    "UniformTemporalSubsampleRepeated",
    "crop_at",
    "grey",
    "random_box",
    "resize",
    "scale_short_side",
    "temporal_difference",
    "uniform_crop",
]
