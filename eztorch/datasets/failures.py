"""What is kept of a video that could not be read."""

from __future__ import annotations

from typing import NamedTuple


class SampleFailure(NamedTuple):
    """A video that could not be read.

    Attributes:
        idx: Index of the video in its dataset.
        path: The file or folder.
        decoder: Name of the decoder that gave up.
        reason: Why.
        epoch: Epoch of the address that asked for it.
    """

    idx: int
    path: str
    decoder: str
    reason: str
    epoch: int
