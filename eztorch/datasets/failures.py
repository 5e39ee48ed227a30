"""What is kept of a video that could not be read."""

from __future__ import annotations

from typing import Any, NamedTuple


class SampleFailure(NamedTuple):
    """A video that could not be read.

    Attributes:
        idx: Index of the video in its dataset.
        path: The file or folder.
        decoder: Name of the decoder that gave up.
        reason: Why.
        epoch: Epoch of the address that asked for it.
        label: What its sample would have had as `label`, -1 for none.
        counts_as_wrong: Whether an evaluation counts it as a wrong answer instead of leaving it out.
    """

    idx: int
    path: str
    decoder: str
    reason: str
    epoch: int
    label: Any = -1
    counts_as_wrong: bool = False
