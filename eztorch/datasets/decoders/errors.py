"""How a video that cannot be read becomes an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eztorch.datasets.decoders.reader import VideoDecodeError


class UnreadableError(Exception):
    """What a source says when it cannot give a frame; the reader adds the path and the decoder."""


@contextmanager
def blame(path: str, decoder: str, *failures: type[Exception]) -> Iterator[None]:
    """Turn what a source raises about a video into a `VideoDecodeError` that names the video and the decoder."""
    blamed: tuple[type[Exception], ...] = (UnreadableError, OSError, *failures)
    try:
        yield
    except blamed as error:
        raise VideoDecodeError(path, decoder, brief(error)) from error


def brief(error: Exception) -> str:
    """Return the first line of an error, without the number and the file name that the system puts around it."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).strip().partition("\n")[0]
