"""A few convolutions for small images, for runs on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from eztorch.models.trunks.parts import checked_classes
from eztorch.utils.errors import ConfigError


class ConvNet(nn.Module):
    """Convolutions of 3 x 3, each with a normalisation and a ReLU, and the mean over all places.

    Attributes:
        num_features: Channels of the last convolution.
        num_layers: The convolutions, and the classifier where there is one.

    Args:
        widths: Channels of each convolution.
        strides: Stride of each.
        in_channels: Channels of the input.
        num_classes: Length of the logits; 0 gives the features.

    Raises:
        ConfigError: There are not as many strides as widths.

    >>> import torch
    >>> ConvNet((8, 16), (2, 2))(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 16])
    """

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int], *, in_channels: int = 3, num_classes: int = 0
    ) -> None:
        super().__init__()
        if not widths or len(widths) != len(strides):
            raise ConfigError(
                f"widths={list(widths)} and strides={list(strides)}; expected as many of both, at least one."
            )
        channels = [in_channels, *widths]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                )
                for before, width, stride in zip(channels, widths, strides, strict=False)
            )
        )
        self.num_features = widths[-1]
        self.num_layers = len(widths) + (num_classes > 0)
        self.fc = nn.Linear(self.num_features, num_classes) if checked_classes(num_classes) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), or logits, of images, shape (B, 3, H, W)."""
        out: Tensor = self.fc(self.layers(x).mean(dim=(2, 3)))
        return out

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return int(name.split(".")[1]) if name.startswith("layers.") else self.num_layers - 1

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())
