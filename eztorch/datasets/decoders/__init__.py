"""Decoders: from a video and spans of time to clips. They know nothing of clip samplers, labels or data sets."""

from eztorch.datasets.decoders.auto import AutoDecoder, choose_decoder
from eztorch.datasets.decoders.decord import DecordDecoder
from eztorch.datasets.decoders.flow import FlowDecoder
from eztorch.datasets.decoders.frame import FrameDecoder
from eztorch.datasets.decoders.frame_filters import (
    FrameFilter,
    RandomSubsample,
    UniformSubsample,
    build_frame_filter,
)
from eztorch.datasets.decoders.pyav import PyAVDecoder
from eztorch.datasets.decoders.reader import Clip, Decoder, Segment, VideoDecodeError, VideoReader
from eztorch.datasets.decoders.registry import build_decoder
from eztorch.datasets.decoders.torchcodec import TorchCodecDecoder

__all__ = [
    "AutoDecoder",
    "Clip",
    "Decoder",
    "DecordDecoder",
    "FlowDecoder",
    "FrameDecoder",
    "FrameFilter",
    "PyAVDecoder",
    "RandomSubsample",
    "Segment",
    "TorchCodecDecoder",
    "UniformSubsample",
    "VideoDecodeError",
    "VideoReader",
    "build_decoder",
    "build_frame_filter",
    "choose_decoder",
]
