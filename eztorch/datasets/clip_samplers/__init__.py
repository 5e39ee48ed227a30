"""Which spans of a video become clips: pure arithmetic on durations, in exact fractions of seconds."""

from eztorch.datasets.clip_samplers.base import ClipInfo, ClipInfoList, ClipSampler, all_clips
from eztorch.datasets.clip_samplers.constant import ConstantClipsPerVideoSampler
from eztorch.datasets.clip_samplers.random import RandomClipSampler, RandomMultiClipSampler

__all__ = [
    "ClipInfo",
    "ClipInfoList",
    "ClipSampler",
    "ConstantClipsPerVideoSampler",
    "RandomClipSampler",
    "RandomMultiClipSampler",
    "all_clips",
]
