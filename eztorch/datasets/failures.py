"""Samples that cannot be read: the error, and what is kept of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from eztorch.utils.errors import EztorchError


class ReadError(EztorchError):
    """A video or an image, or a part of it that is needed, cannot be read.

    Attributes:
        path: The file or folder.
        decoder: Name of what should have read it.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, decoder: str, reason: str) -> None:
        super().__init__(path, decoder, reason)  # what pickle gives back to the constructor
        self.path = path
        self.decoder = decoder
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: decoder {self.decoder!r} cannot read it: {self.reason}"


class SampleFailure(NamedTuple):
    """A sample that could not be read.

    Attributes:
        idx: Index of the sample in its dataset.
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
