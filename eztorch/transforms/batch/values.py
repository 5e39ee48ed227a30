"""Types and scales of the values of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eztorch.transforms.batch.base import InPlaceTransform, checked, to_float
from eztorch.utils.errors import ConfigError


class ToFloat(nn.Module):
    """Make float32 from 0 to 1 of uint8; floats keep their values, half precision becomes float32.

    Where batches may be floats from 0 to 255 (`decode_float: true`), use `Div255Input`, which divides them as well.

    >>> ToFloat()(torch.full((1, 1, 1, 1), 51, dtype=torch.uint8)).item()
    0.20000000298023224
    """

    def forward(self, batch: Tensor) -> Tensor:
        """Return the batch in floats."""
        return to_float(checked(batch))


class Normalize(InPlaceTransform):
    """Subtract a mean and divide by a deviation, channel by channel.

    Args:
        mean: Means of the channels, or one for all of them.
        std: Standard deviations of the channels, as many.

    Raises:
        ConfigError: The lists differ in length, or a deviation is not positive.

    >>> Normalize(mean=[0.5], std=[0.25])(torch.ones(1, 3, 1, 1)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if not mean or len(mean) != len(std) or min(std) <= 0:
            raise ConfigError(
                f"mean={list(mean)}, std={list(std)}; expected a mean and a positive deviation for every channel."
            )
        scale = 1 / torch.tensor(std, dtype=torch.float64)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.float(), persistent=False)
        self.register_buffer("shift", (-torch.tensor(mean, dtype=torch.float64) * scale).float(), persistent=False)

    def change(self, batch: Tensor) -> None:
        """Normalise a batch in place.

        Raises:
            ConfigError: It has another number of channels.
        """
        if len(self.scale) not in (1, batch.shape[1]):
            raise ConfigError(f"Normalize has {len(self.scale)} means for batches of {batch.shape[1]} channels.")
        shape = (-1,) + (1,) * (batch.ndim - 2)
        torch.addcmul(self.shift.view(shape), batch, self.scale.view(shape), out=batch)

    def extra_repr(self) -> str:
        """Show the factor and the shift of each channel."""
        return f"scale={self.scale.tolist()}, shift={self.shift.tolist()}"
