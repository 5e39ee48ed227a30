"""The contract between decoders and datasets: what is opened, what is asked, what comes back, how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eztorch.datasets.failures import ReadError

FrameNumbers: TypeAlias = "Sequence[int] | NDArray[np.int64]"


class Segment(NamedTuple):
    """The part of a video that a line of the annotations is about.

    Attributes:
        start: Where it begins.
        end: Where it ends, itself outside. Behind the end of the video it means that end.
        unit: `frames`, numbers from 0 in the order of presentation, or `seconds` from the first frame of the video.
    """

    start: Fraction | int
    end: Fraction | int
    unit: Literal["frames", "seconds"]


@dataclass(frozen=True, eq=False, repr=False)
class Clip:
    """The frames that were kept of one span of a video.

    Legend: C channels (3), T kept frames, H height, W width.

    Attributes:
        video: Frames, shape (C, T, H, W), RGB, 0 to 255; uint8, or float32 with `decode_float`. Not always contiguous:
            encoded videos keep the channels-last memory that their decoder wrote.
        pts: When each frame is shown, seconds from the first frame of the video, float64, shape (T,).
        indices: Number of each frame in the video, in the order of presentation, int64, shape (T,).
        time_difference: Whether the frames are differences to their successors instead of pictures.
    """

    video: Tensor
    pts: Tensor
    indices: Tensor
    time_difference: bool

    def __repr__(self) -> str:
        video = f"{str(self.video.dtype).removeprefix('torch.')}{tuple(self.video.shape)}"
        return f"Clip(video={video}, indices={self.indices.tolist()}, time_difference={self.time_difference})"


class VideoReader(Protocol):
    """An open video, or a segment of one, which is then the whole video to all that follows.

    A span (start, end) stands for the frames that begin in [start, end), in seconds from the first frame of the
    video. A span in which no frame begins stands for the one frame that is shown at `start`.
    """

    @property
    def decoder(self) -> str:
        """Name of the decoder that reads the video; of `auto` the one that it chose last."""

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""

    @property
    def fps(self) -> Fraction:
        """Frames a second, the average when the rate varies."""

    @property
    def num_frames(self) -> int | None:
        """Number of frames, None when it is not known."""

    def get_clips(
        self, spans: Sequence[tuple[Fraction, Fraction]], generator: torch.Generator | None = None
    ) -> list[Clip]:
        """Decode several spans in one pass; the clips are those that single calls would give.

        Args:
            spans: Start and end of each clip, seconds.
            generator: Source of what the frame filter and the time difference draw, span by span.

        Raises:
            VideoDecodeError: A frame that is needed cannot be read.
        """

    def get_clip(self, start: Fraction, end: Fraction, generator: torch.Generator | None = None) -> Clip:
        """Decode one span; see `get_clips`."""

    def get_frames(self, selections: Sequence[FrameNumbers], generator: torch.Generator | None = None) -> list[Clip]:
        """Decode frames that were chosen by their numbers, all of them in one pass. The frame filter does not apply.

        Args:
            selections: The frame numbers of each clip, from 0 in the order of presentation, in any order; they may
                repeat.
            generator: Source of what the time difference draws, clip by clip.

        Raises:
            ValueError: A selection is empty, or has a number that is no frame of the video.
            VideoDecodeError: A frame that is needed cannot be read.
        """

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> VideoReader: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Decoder(Protocol):
    """Opens videos; holds no state between them, and pickles."""

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a video.

        Args:
            path: The file, or the folder of frames.
            num_frames: The number of frames, where the annotations know it. A folder of frames is then not counted;
                an encoded file knows better itself. It is that of the whole video, also when a segment is given.
            segment: The part to which the reader is confined; times and frame numbers count from its first frame.

        Raises:
            VideoDecodeError: The path is not a video that this decoder reads, or the segment lies outside of it.
        """


class VideoDecodeError(ReadError):
    """A video, or a part of it that is needed, cannot be decoded."""
