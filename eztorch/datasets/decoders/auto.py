"""The decoder that suits the file and the request. All choose the same frames, so the choice is one of speed alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, Literal, NamedTuple

from torch import Tensor

from eztorch.datasets.decoders.encoded import checked_threads, open_encoded
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.frame import FrameDecoder
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.pyav import PyAVSource
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.datasets.decoders.torchcodec import TorchCodecSource, check_installation
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_DENSE_SHARE = 0.5
_SHORT_GROUP = 6
_DENSE_DECODERS = ("pyav", "torchcodec")


class Choice(NamedTuple):
    """A decoder of video files, and why it was chosen."""

    decoder: str
    reason: str


def choose_decoder(wanted: int, packets: int, group_length: float, dense_decoder: str = "pyav") -> Choice:
    """Choose who decodes some frames of a video file.

    Sparse frames always go to PyAV: it alone leaves out the packets that no wanted frame needs (1.3 to 1.7 times as
    fast as TorchCodec). Requests that need most of what they decode, and files with short groups of pictures, where
    there is nothing to leave out, may go to another decoder. By default they stay with PyAV: measured with h264, HEVC,
    MPEG-4, VP9 and AV1, 64 x 48 to 1020 x 768, 8 to 250 frames in a row, key frames every 1 to 250, with FFmpeg 5 and
    8, TorchCodec had 0.6 to 0.9 of its speed, and 1.0 for 250 frames of 64 x 48. `AutoDecoder` takes `dense_decoder`
    for machines on which that is otherwise.

    Args:
        wanted: Number of frames that are asked for.
        packets: Number of packets from which they are decoded.
        group_length: Mean number of frames from one key frame to the next.
        dense_decoder: Who reads dense requests.

    >>> choose_decoder(8, 80, 250.0, "torchcodec").decoder
    'pyav'
    >>> choose_decoder(32, 40, 12.0, "torchcodec")
    Choice(decoder='torchcodec', reason='dense: 32 of 40 decoded frames are wanted')
    """
    if group_length <= _SHORT_GROUP:
        return Choice(dense_decoder, f"short groups of pictures: a key frame every {group_length:.0f} frames")
    if wanted >= _DENSE_SHARE * packets:
        return Choice(dense_decoder, f"dense: {wanted} of {packets} decoded frames are wanted")
    return Choice("pyav", f"sparse: {wanted} of {packets} decoded frames are wanted")


class AutoDecoder:
    """Reads folders of pictures as decoder 'frame', and video files with the decoder of `choose_decoder`.

    Files that TorchCodec refuses, and all where it does not run, go to PyAV. `reader.decoder` and every error say which
    decoder it was. The frames are those of any decoder; the pixels too, but for videos of more than 8 bits and for
    `short_side`, where TorchCodec differs from PyAV by about 1 of 255.

    Args:
        dense_decoder: pyav or torchcodec, for dense clips and short groups of pictures.
        num_threads: Threads of FFmpeg for one video; 1 is best in a loader worker, 0 lets FFmpeg decide.
        fps: As the following, see `FrameDecoder`.
        num_threads_io: Threads that read picture files.
        num_threads_decode: Threads that decode pictures.
        frame_name: Name of a frame's file in the folder.
        first_index: The `index` of the first frame.
        **options: The arguments of `ClipOptions`.

    Raises:
        ConfigError: A value cannot be used.
    """

    def __init__(
        self,
        *,
        dense_decoder: Literal["pyav", "torchcodec"] = "pyav",
        num_threads: int = 1,
        fps: float | str | Fraction = 30,
        num_threads_io: int = 0,
        num_threads_decode: int = 0,
        frame_name: str = "{index:08d}.jpg",
        first_index: int = 1,
        **options: Any,
    ) -> None:
        self._dense_decoder = choose({name: name for name in _DENSE_DECODERS}, dense_decoder, "dense_decoder")
        self._num_threads = checked_threads(num_threads)
        self._options = ClipOptions.build(**options)
        self._folders = FrameDecoder(
            fps=fps,
            num_threads_io=num_threads_io,
            num_threads_decode=num_threads_decode,
            frame_name=frame_name,
            first_index=first_index,
            **options,
        )

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a video; see `Decoder.open`."""
        if os.path.isdir(path):
            return self._folders.open(path, num_frames, segment=segment)
        return open_encoded(
            path,
            "pyav",
            lambda file, index: _AutoSource(path, file, index, self._dense_decoder, self._options.short_side),
            options=self._options,
            segment=segment,
            num_threads=self._num_threads,
        )


class _AutoSource(FrameSource):
    failures = (*PyAVSource.failures, *TorchCodecSource.failures)

    def __init__(
        self, path: str, file: PacketFile, index: FrameIndex, dense_decoder: str, short_side: int | None
    ) -> None:
        self.decoder = "pyav"
        self._path = path
        self._file = file
        self._index = index
        self._dense_decoder = dense_decoder
        self._sources: dict[str, FrameSource] = {"pyav": PyAVSource(file, index, short_side)}

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        self.decoder = self._choose(indices)
        if self.decoder == "torchcodec":
            try:
                return self._torchcodec().read(indices)
            except (UnreadableError, *TorchCodecSource.failures):
                self.decoder = self._dense_decoder = "pyav"
        return self._sources["pyav"].read(indices)

    def close(self) -> None:
        for source in self._sources.values():
            source.close()

    def _choose(self, indices: Sequence[int]) -> str:
        if self._dense_decoder == "pyav" or not torchcodec_runs():
            return "pyav"
        packets = sum(run.last - run.first + 1 for run in self._index.runs(indices))
        return choose_decoder(len(indices), packets, self._index.group_length, self._dense_decoder).decoder

    def _torchcodec(self) -> FrameSource:
        if "torchcodec" not in self._sources:
            threads = self._file.num_threads
            self._sources["torchcodec"] = TorchCodecSource(self._path, self._file, self._index, threads)
        return self._sources["torchcodec"]


@cache
def torchcodec_runs() -> bool:
    """Say whether TorchCodec runs on this machine. It is imported by that, so ask only when it may be of use."""
    try:
        check_installation()
    except ConfigError:
        return False
    return True
