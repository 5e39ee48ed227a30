"""Types and orders of the dimensions of a clip, under the names of pytorchvideo."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eztorch.transforms.tensors import Div255Input
from eztorch.utils.errors import ConfigError


class Permute(nn.Module):
    """Permute the dimensions of a clip.

    Args:
        dims: The dimensions in their new order.

    >>> tuple(Permute([1, 0, 2, 3])(torch.zeros(3, 8, 4, 4)).shape)
    (8, 3, 4, 4)
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, clip: Tensor) -> Tensor:
        """Return the permuted clip, a view.

        Raises:
            ConfigError: The clip has another number of dimensions.
        """
        if clip.ndim != len(self.dims):
            raise ConfigError(f"Permute has dims={list(self.dims)} and was given the shape {tuple(clip.shape)}.")
        return clip.permute(self.dims)

    def extra_repr(self) -> str:
        """Show the dimensions."""
        return f"dims={self.dims}"


class ConvertFloatToUint8(nn.Module):
    """Make uint8 from 0 to 255, rounded, of floats from 0 to 1."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return the clip in bytes."""
        return (clip * 255).round_().clamp_(0, 255).to(torch.uint8)


def ConvertUint8ToFloat() -> nn.Module:
    """Make float32 from 0 to 1 of uint8; see `Div255Input`."""
    return Div255Input()


def MoveChannelRear() -> nn.Module:
    """Move the channels of a clip (C, T, H, W) to the end."""
    return Permute((1, 2, 3, 0))


def MoveChannelFront() -> nn.Module:
    """Move the channels of a clip (T, H, W, C) to the front."""
    return Permute((3, 0, 1, 2))
