"""Transforms of clips `(C, T, H, W)`, among them those of pytorchvideo, under their names."""

from eztorch.transforms.on_dict import ApplyTransformToKey, RemoveKey
from eztorch.transforms.video.spatial import (
    RandomResizedCrop,
    RandomShortSideScale,
    ShortSideScale,
    UniformCropVideo,
    random_box,
    resize,
    scale_short_side,
    uniform_crop,
)
from eztorch.transforms.video.temporal import (
    RandomTemporalDifference,
    RemoveTimeDim,
    TemporalDifference,
    UniformTemporalSubsample,
    temporal_difference,
)
from eztorch.transforms.video.values import Div255, Normalize

__all__ = [
    "ApplyTransformToKey",
    "Div255",
    "Normalize",
    "RandomResizedCrop",
    "RandomShortSideScale",
    "RandomTemporalDifference",
    "RemoveKey",
    "RemoveTimeDim",
    "ShortSideScale",
    "TemporalDifference",
    "UniformCropVideo",
    "UniformTemporalSubsample",
    "random_box",
    "resize",
    "scale_short_side",
    "temporal_difference",
    "uniform_crop",
]
