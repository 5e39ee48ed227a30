"""Pictures at the size that is wanted of a decoder."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the height and width of a picture whose shorter side is scaled to `short_side`; the other is floored.

    >>> short_side_size(720, 1280, 256)
    (256, 455)
    """
    shorter = min(height, width)
    return height * short_side // shorter, width * short_side // shorter


def scale_short_side(frame: Tensor, short_side: int) -> Tensor:
    """Scale a picture, bilinear with antialiasing.

    Args:
        frame: uint8, shape (C, H, W). One that has the size already is returned as it is.
        short_side: Pixels of the shorter side.
    """
    _, height, width = frame.shape
    size = short_side_size(height, width, short_side)
    if size == (height, width):
        return frame
    return interpolate(frame[None], size, mode="bilinear", antialias=True)[0]
