"""Where the pictures of a decoder come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from torch import Tensor


class FrameSource(ABC):
    """Gives the pictures of an open video.

    Attributes:
        decoder: Name of the decoder that reads them, which may change from one reading to the next.
        failures: What else than `UnreadableError` reading may raise when the video is at fault.
    """

    decoder: str
    failures: tuple[type[Exception], ...] = ()

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield frames, uint8, shape (C, H, W), RGB, in the order asked.

        Args:
            indices: Frame numbers, rising, without repetition.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""
