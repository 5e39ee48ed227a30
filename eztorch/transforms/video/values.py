"""Transforms of the values of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eztorch.transforms.tensors import Div255Input
from eztorch.utils.errors import ConfigError


class Normalize(nn.Module):
    """Subtract a mean and divide by a deviation, channel by channel.

    Args:
        mean: Means of the channels.
        std: Standard deviations of the channels.
        inplace: Whether the tensor that is passed in is changed itself.

    Raises:
        ConfigError: The lists differ in length, or a deviation is 0.

    >>> Normalize([1.0], [2.0])(torch.full((1, 1, 1, 1), 5.0)).item()
    2.0
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(std):
            raise ConfigError(f"mean={list(mean)}, std={list(std)}; expected a mean and a deviation for every channel.")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1, 1), persistent=False)
        self.inplace = inplace

    def forward(self, clip: Tensor) -> Tensor:
        """Return the normalised clip, or batch of clips, shape (..., C, T, H, W).

        Raises:
            ConfigError: The clip is not of a floating type.
        """
        if not clip.is_floating_point():
            raise ConfigError(f"Normalize needs a floating clip and was given {clip.dtype}; put Div255 before it.")
        result = clip if self.inplace else clip.clone()
        return result.sub_(self.mean).div_(self.std)


def Div255() -> nn.Module:
    """Divide a clip by 255 and give it as float32; see `Div255Input`."""
    return Div255Input()
