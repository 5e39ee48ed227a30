"""The arguments that all decoders take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eztorch.datasets.decoders.frame_filters import FrameFilter, build_frame_filter
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


@dataclass(frozen=True)
class ClipOptions:
    """The arguments that all decoders take.

    Attributes:
        frame_filter: Chooses the frames of a span that are kept; None keeps all.
        time_difference_prob: Probability that a clip is made of differences in time, drawn for each clip.
        decode_float: Give float32 instead of uint8; the range stays 0 to 255.
        short_side: Scale each picture, while it is uint8, so that its shorter side has this many pixels; the longer one
            is rounded down. Worth it for large pictures of which only a small part of the pixels is used later.
        transform: Applied to each frame, uint8 of shape (C, H, W), before it becomes part of a clip.
        decode_timeout_s: The most seconds that opening a video, or one call that reads clips of it, may take; None for
            no limit.
    """

    frame_filter: FrameFilter | None = None
    time_difference_prob: float = 0.0
    decode_float: bool = False
    short_side: int | None = None
    transform: Callable[[Tensor], Tensor] | None = None
    decode_timeout_s: float | None = None

    @classmethod
    def build(
        cls,
        *,
        frame_filter: Mapping[str, Any] | FrameFilter | None = None,
        time_difference_prob: float = 0.0,
        decode_float: bool = False,
        short_side: int | None = None,
        transform: Any = None,
        decode_timeout_s: float | None = None,
    ) -> ClipOptions:
        """Build the options from configuration values.

        Raises:
            ConfigError: A value cannot be used.
        """
        if not _is_number(time_difference_prob) or not 0 <= time_difference_prob <= 1:
            raise ConfigError(f"time_difference_prob={time_difference_prob!r} must be a probability, from 0 to 1.")
        if short_side is not None and (not _is_number(short_side) or short_side < 1 or short_side != int(short_side)):
            raise ConfigError(f"short_side={short_side!r} must be a positive number of pixels, or null.")
        if decode_timeout_s is not None and (not _is_number(decode_timeout_s) or not decode_timeout_s > 0):
            raise ConfigError(f"decode_timeout_s={decode_timeout_s!r} must be a positive number of seconds, or null.")
        return cls(
            frame_filter=build_frame_filter(frame_filter),
            time_difference_prob=float(time_difference_prob),
            decode_float=decode_float,
            short_side=None if short_side is None else int(short_side),
            transform=build(transform),
            decode_timeout_s=decode_timeout_s,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
