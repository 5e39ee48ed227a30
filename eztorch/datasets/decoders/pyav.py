"""Videos through PyAV, whose wheel carries FFmpeg. The default decoder.

Only what the wanted frames need is decoded: reading begins at the key frame before them and ends at the last of their
packets, frames that no other refers to are skipped when nobody wants them, and only wanted frames are converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from eztorch.datasets.decoders.encoded import checked_threads, open_encoded
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.frame_index import FrameIndex, Run
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.scaling import short_side_size
from eztorch.datasets.decoders.source import FrameSource

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# Codecs in which "no reference" is final. In HEVC it only holds within a temporal layer, so skipping could do harm.
_CAN_SKIP = {"h264", "mpeg4"}


class PyAVDecoder:
    """Reads whatever FFmpeg reads, in the exact order and with the exact time stamps of the file.

    Pictures are turned as the file says, and converted by FFmpeg with the colour matrix and range that it states. Those
    of 8-bit videos equal the ones of torchcodec and decord. Those of 10-bit videos differ by about 1 of 255, in single
    pixels at the edges of saturated colours by 180 and more, because the libraries interpolate chroma in other ways.

    Args:
        num_threads: Threads of FFmpeg for one video; 1 is best in a loader worker, 0 lets FFmpeg decide.
        **options: The arguments of `ClipOptions`.

    Raises:
        ConfigError: A value cannot be used.
    """

    def __init__(self, *, num_threads: int = 1, **options: Any) -> None:
        self._num_threads = checked_threads(num_threads)
        self._options = ClipOptions.build(**options)

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a video; see `Decoder.open`."""
        return open_encoded(
            path,
            "pyav",
            lambda file, index: PyAVSource(file, index, self._options.short_side),
            options=self._options,
            segment=segment,
            num_threads=self._num_threads,
        )


class PyAVSource(FrameSource):
    """Pictures of the frames that PyAV decodes.

    Args:
        file: The video.
        index: Its frames.
        short_side: Pixels of the shorter side, scaled by FFmpeg while it converts; None keeps the size.
    """

    decoder = "pyav"
    failures = (av.error.FFmpegError,)

    def __init__(self, file: PacketFile, index: FrameIndex, short_side: int | None = None) -> None:
        self._file = file
        self._index = index
        self._short_side = short_side
        self._reformatter = VideoReformatter()

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield frames; see `FrameSource.read`."""
        if not self._index.ordered:
            yield from self._count(indices)
            return
        for run in self._index.runs(indices):
            yield from self._read_run(run)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read_run(self, run: Run) -> Iterator[Tensor]:
        given = 0
        try:
            for picture in self._pick(run, skip=self._file.codec.name in _CAN_SKIP):
                yield picture
                given += 1
        except (UnreadableError, av.error.FFmpegError):
            # Not every "key frame" is one (periodic intra refresh); from the first packet on, nothing is missing.
            yield from self._pick(Run(0, run.last, run.stamps[given:]), skip=False)

    def _pick(self, run: Run, *, skip: bool) -> Iterator[Tensor]:
        """Decode a run and yield the frames that are wanted of it."""
        wanted = iter(run.stamps)
        stamp = next(wanted, None)
        for frame in self._decode(run.first, run.last + 1, needed=set(run.stamps) if skip else None):
            if frame.pts == stamp:
                yield self._convert(frame)
                stamp = next(wanted, None)
            if stamp is None:
                return
            if frame.pts is None or frame.pts > stamp:
                break
        if stamp is not None:
            raise UnreadableError(f"its frame at {float(stamp * self._file.time_base):.3f} s does not come out")

    def _count(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Decode from the first packet on and know the frames by their number."""
        wanted = iter(indices)
        index = next(wanted, None)
        for number, frame in enumerate(self._decode(0, None, needed=None)):
            if number == index:
                yield self._convert(frame)
                index = next(wanted, None)
            if index is None:
                return
        raise UnreadableError(f"its frame number {index} does not come out")

    def _decode(self, first: int, stop: int | None, *, needed: set[int] | None) -> Iterator[VideoFrame]:
        """Decode packets; without those that no frame refers to, when the stamps of the `needed` ones are given."""
        packets = self._file.packets(first, stop)
        codec = self._file.codec
        codec.flush_buffers()
        codec.skip_frame, skipping = "DEFAULT", False
        for packet in packets:
            if packet.is_corrupt:
                raise UnreadableError("a packet is damaged or cut off")
            if packet.size > 0:
                if skipping != (needed is not None and packet.pts not in needed):
                    skipping = not skipping
                    codec.skip_frame = "NONREF" if skipping else "DEFAULT"
                yield from map(_sound, codec.decode(packet))
        yield from map(_sound, codec.decode(None))

    def _convert(self, frame: VideoFrame) -> Tensor:
        height, width = frame.height, frame.width
        if self._short_side is not None:
            height, width = short_side_size(height, width, self._short_side)
        # Without scaling FFmpeg repeats the chroma of 8-bit pictures; of others it would interpolate half of it.
        repeat = (height, width) == (frame.height, frame.width) and frame.format.components[0].bits > 8
        filtering = Interpolation.POINT if repeat else Interpolation.BILINEAR
        rgb = self._reformatter.reformat(frame, width, height, "rgb24", interpolation=filtering, threads=1)
        plane = rgb.planes[0]
        pixels: NDArray[np.uint8] = np.ndarray(
            (height, width, 3), np.uint8, memoryview(plane), 0, (plane.line_size, 3, 1)
        )
        picture = torch.from_numpy(pixels).permute(2, 0, 1)  # the memory of FFmpeg itself
        return torch.rot90(picture, round(frame.rotation / 90), (1, 2)) if frame.rotation else picture


def _sound(frame: VideoFrame) -> VideoFrame:
    if frame.is_corrupt:
        raise UnreadableError("a frame is damaged")
    return frame
