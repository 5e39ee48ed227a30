"""Which parts of a video become clips, without a look at its pictures.

Clip samplers work on times, in exact fractions of seconds; frame samplers on the numbers of frames, by a rule.
"""

from eztorch.datasets.clip_samplers.base import ClipInfo, ClipInfoList, ClipSampler, all_clips
from eztorch.datasets.clip_samplers.constant import ConstantClipsPerVideoSampler
from eztorch.datasets.clip_samplers.frame_rules import FrameRule, SpanRule
from eztorch.datasets.clip_samplers.frame_samplers import (
    ConstantFrameSampler,
    FrameClip,
    FrameClipList,
    FrameSampler,
    RandomFrameSampler,
    SlidingFrameSampler,
)
from eztorch.datasets.clip_samplers.random import RandomClipSampler, RandomCVRLSampler, RandomMultiClipSampler
from eztorch.datasets.clip_samplers.segment_rules import SegmentFrames, SparseFrames
from eztorch.datasets.clip_samplers.sliding import (
    ConstantClipsWithHalfOverlapPerVideoClipSampler,
    MinimumFullCoverageClipSampler,
    SlidingWindowClipSampler,
    UniformClipSampler,
    WholeVideoClipSampler,
)
from eztorch.datasets.clip_samplers.span_rules import DenseFrames, IntervalFrames

__all__ = [
    "ClipInfo",
    "ClipInfoList",
    "ClipSampler",
    "ConstantClipsPerVideoSampler",
    "ConstantClipsWithHalfOverlapPerVideoClipSampler",
    "ConstantFrameSampler",
    "DenseFrames",
    "FrameClip",
    "FrameClipList",
    "FrameRule",
    "FrameSampler",
    "IntervalFrames",
    "MinimumFullCoverageClipSampler",
    "RandomCVRLSampler",
    "RandomClipSampler",
    "RandomFrameSampler",
    "RandomMultiClipSampler",
    "SegmentFrames",
    "SlidingFrameSampler",
    "SlidingWindowClipSampler",
    "SpanRule",
    "SparseFrames",
    "UniformClipSampler",
    "WholeVideoClipSampler",
    "all_clips",
]
