"""Videos through TorchCodec, which needs an installed FFmpeg. The fastest for dense clips and for very short groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

import av
import numpy as np
from torch import Tensor

from eztorch.datasets.decoders.encoded import checked_threads, open_encoded
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.utils.errors import ConfigError


class TorchCodecDecoder:
    """Reads videos with `torchcodec.decoders.VideoDecoder` in exact mode, all clips of a video in one call.

    Frames are chosen on the same index of time stamps as by decoder 'pyav', and what comes back is checked against it.

    Args:
        num_threads: Threads of FFmpeg for one video; 1 is best in a loader worker, 0 lets FFmpeg decide.
        **options: The arguments of `ClipOptions`.

    Raises:
        ConfigError: TorchCodec or the FFmpeg that it needs is missing, or a value cannot be used.
    """

    def __init__(self, *, num_threads: int = 1, **options: Any) -> None:
        check_installation()
        self._num_threads = checked_threads(num_threads)
        self._options = ClipOptions.build(**options)

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a video; see `Decoder.open`."""
        return open_encoded(
            path,
            "torchcodec",
            lambda file, index: TorchCodecSource(path, file, index, self._num_threads),
            options=self._options,
            segment=segment,
            failures=TorchCodecSource.failures,
        )


def check_installation() -> None:
    """Make sure that TorchCodec runs on this machine.

    Raises:
        ConfigError: It does not; the message says why.
    """
    way_out = "`decoder: pyav` needs nothing but its wheel and chooses the same frames."
    cause = None
    try:
        # Releases differ in when they look for FFmpeg: some fail on import, others leave this None.
        loaded = getattr(import_module("torchcodec"), "ffmpeg_major_version", "unknown") is not None
    except ImportError as error:
        raise ConfigError(
            f"decoder: torchcodec needs the package torchcodec (pip install 'eztorch[torchcodec]'): {error}. {way_out}"
        ) from error
    except (RuntimeError, OSError) as error:
        loaded, cause = False, error
    if not loaded:
        raise ConfigError(
            "decoder: torchcodec cannot load its library: no FFmpeg that it supports is installed on this system "
            "(for example: apt-get install ffmpeg), or the installed torchcodec was not built for the installed torch. "
            + way_out
        ) from cause


class TorchCodecSource(FrameSource):
    """Pictures of the frames that TorchCodec decodes.

    Args:
        path: The video.
        file: The same, for its index.
        index: Its frames.
        num_threads: Threads of FFmpeg.

    Raises:
        UnreadableError: TorchCodec would mistake the order of the frames.
        RuntimeError: It cannot open the file.
    """

    decoder = "torchcodec"
    failures = (av.error.FFmpegError, RuntimeError, IndexError)

    def __init__(self, path: str, file: PacketFile, index: FrameIndex, num_threads: int) -> None:
        if not index.ordered:
            raise UnreadableError(
                f"this {file.format} file does not store when its frames are shown, and torchcodec, which goes by "
                "that, mistakes their order; decoder 'pyav' counts them"
            )
        self._file = file
        self._index = index
        self._decoder = import_module("torchcodec.decoders").VideoDecoder(
            path,
            seek_mode="exact",
            dimension_order="NHWC",
            stream_index=file.stream.index,
            num_ffmpeg_threads=num_threads,
        )

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield frames; see `FrameSource.read`."""
        batch = self._decoder.get_frames_at(list(indices))
        expected = self._index.stamps(indices) * float(self._file.time_base)
        if not np.allclose(batch.pts_seconds.numpy(), expected, rtol=0, atol=1e-4):
            raise UnreadableError("torchcodec gives frames of other times than those asked for; use decoder 'pyav'")
        return (frame.permute(2, 0, 1) for frame in batch.data)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        self._decoder = None
