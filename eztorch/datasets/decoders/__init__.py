"""Decoders: from a video and spans of time to clips. They know nothing of clip samplers, labels or data sets."""

from eztorch.datasets.decoders.frame import FrameDecoder
from eztorch.datasets.decoders.frame_filters import RandomSubsample, UniformSubsample, build_frame_filter
from eztorch.datasets.decoders.pyav import PyAVDecoder
from eztorch.datasets.decoders.reader import Clip, Decoder, VideoDecodeError, VideoReader

__all__ = ["Clip", "Decoder", "FrameDecoder", "PyAVDecoder", "RandomSubsample", "UniformSubsample", "VideoDecodeError",
 "VideoReader", "build_frame_filter"]
