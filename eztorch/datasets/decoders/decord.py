"""Videos through decord 0.6, for comparison with results that were made with it. It is old, and so is its FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eztorch.datasets.decoders.encoded import checked_threads, open_encoded
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.utils.errors import ConfigError

# Containers in which decord finds the frames that are asked for; in streams without an index it lands elsewhere.
_SEEKS_EXACTLY = {"mov", "mp4", "matroska", "webm", "flv", "avi"}


class DecordDecoder:
    """Reads videos with `decord.VideoReader`, all clips of a video in one `get_batch`.

    Frames are chosen on the same index of time stamps as by decoder 'pyav'. In files with periodic intra refresh
    instead of key frames decord takes frames a little later than asked, which cannot be noticed from outside.

    Args:
        num_threads: Threads of FFmpeg for one video; 1 is best in a loader worker, 0 lets decord decide.
        **options: The arguments of `ClipOptions`.

    Raises:
        ConfigError: decord is missing, or a value cannot be used.
    """

    def __init__(self, *, num_threads: int = 1, **options: Any) -> None:
        try:
            import decord  # noqa: F401  # only to fail here and not at the first video
        except (ImportError, OSError) as error:
            raise ConfigError(
                f"decoder: decord needs the package decord, which is there for x86-64 only ({error}). "
                "`decoder: pyav` reads all that decord reads and chooses the same frames."
            ) from error
        self._num_threads = checked_threads(num_threads)
        self._options = ClipOptions.build(**options)

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open a video; see `Decoder.open`."""
        return open_encoded(
            path,
            "decord",
            lambda file, index: _DecordSource(path, file, index, self._num_threads),
            options=self._options,
            segment=segment,
        )


class _DecordSource(FrameSource):
    decoder = "decord"

    def __init__(self, path: str, file: PacketFile, index: FrameIndex, num_threads: int) -> None:
        import decord
        from decord import DECORDError, DECORDLimitReachedError

        self.failures = (av.error.FFmpegError, DECORDError, DECORDLimitReachedError)
        if not _SEEKS_EXACTLY & set(file.format.split(",")):
            raise UnreadableError(f"decord does not seek exactly in {file.format} files; use decoder 'pyav'")
        self._file = file
        self._index = index
        # A tolerance of "more than no frame": by default decord repeats the last good frame and says nothing.
        try:
            self._reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=num_threads, fault_tol=1e-9)
        except UnicodeEncodeError as error:
            raise UnreadableError("decord takes no path that is not UTF-8; use decoder 'pyav'") from error
        except (DECORDError, RuntimeError) as error:
            raise UnreadableError(
                f"decord, whose FFmpeg is of 2019, cannot open this {file.codec.name} file; decoder 'pyav' reads more"
            ) from error
        if len(self._reader) != index.num_frames:
            raise UnreadableError(
                f"decord counts {len(self._reader)} frames where the file shows {index.num_frames}; use decoder 'pyav'"
            )

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        if self._index.ordered and self._index.closed(indices):
            batch = self._reader.get_batch(list(indices)).asnumpy()
        else:
            batch = list(self._read_through(indices))
        return (torch.from_numpy(picture).permute(2, 0, 1) for picture in batch)

    def _read_through(self, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Read from the first frame on: decord counts from a key frame as if it were the first shown of its group."""
        self._reader.seek(0)
        for index in range(indices[-1] + 1):  # skip_frames would go by key frames again
            picture = self._reader.next()
            if index in indices:
                yield picture.asnumpy()

    def close(self) -> None:
        self._file.close()
        self._reader = None
