"""The grey of colours."""

from __future__ import annotations

from torch import Tensor

BT_601 = (0.299, 0.587, 0.114)
"""Shares of red, green and blue, ITU-R BT.601."""

BT_601_ROUNDED = (0.2989, 0.587, 0.114)
"""The same as torchvision rounds them."""


def luma(colours: Tensor, dim: int, weights: tuple[float, float, float] = BT_601) -> Tensor:
    """Return the weighted sum of red, green and blue, which lie in a dimension of size 3 that the result lacks."""
    red, green, blue = colours.unbind(dim)
    return (red * weights[0]).add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])
