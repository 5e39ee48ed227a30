"""What the decoders of video files share: one index of the frames, whoever decodes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import av

from eztorch.datasets.decoders.clips import ClipReader
from eztorch.datasets.decoders.errors import blame
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.reader import Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.datasets.decoders.timeout import Deadline, Watch
from eztorch.utils.errors import ConfigError


def open_encoded(
    path: str,
    decoder: str,
    make_source: Callable[[PacketFile, FrameIndex], FrameSource],
    *,
    options: ClipOptions,
    segment: Segment | None,
    num_threads: int = 1,
    failures: tuple[type[Exception], ...] = (),
) -> VideoReader:
    """Open a video file.

    Args:
        path: The file.
        decoder: Name of the decoder, for messages.
        make_source: Makes the source of frames; the file is closed by the source, or here when this fails.
        options: What is made of the frames.
        segment: The part of the video to which the reader is confined.
        num_threads: Threads of PyAV's decoder.
        failures: What else `make_source` may raise when the video is at fault.

    Raises:
        VideoDecodeError: The file is not a video that this decoder reads, or the segment lies outside of it.
    """
    deadline = Deadline(options.decode_timeout_s)
    watch = Watch(deadline, path)

    def opener() -> ClipReader:
        with blame(path, decoder, av.error.FFmpegError, *failures), ExitStack() as on_error:
            file = PacketFile(path, num_threads=num_threads, deadline=deadline)
            on_error.callback(file.close)
            index = FrameIndex(file)
            source = make_source(file, index)
            on_error.push(lambda *_: source.close())
            reader = ClipReader(path, timeline=index, source=source, options=options, segment=segment, watch=watch)
            on_error.pop_all()
        return reader

    return watch.open(decoder, opener)


def checked_threads(num_threads: int) -> int:
    """Return the number of threads of an encoded decoder, after a look at it."""
    if num_threads < 0:
        raise ConfigError(f"num_threads={num_threads} must not be negative; 0 lets the library decide.")
    return num_threads
