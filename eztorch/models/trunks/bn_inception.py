"""Inception with batch normalisation, the network for images of TSN (https://arxiv.org/abs/1502.03167, figure 5)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.trunks.layers import layer_ids
from eztorch.models.trunks.parts import checked_classes


class _Sizes(NamedTuple):
    """Channels of a block; it halves the sides where it has no branch of one convolution.

    Attributes:
        one: Of the 1 x 1 convolution.
        three: Of the reduction and the 3 x 3 convolution.
        double: Of the reduction and the two 3 x 3 convolutions.
        pooled: Of the projection of the pooled maps; 0 passes them on.
        pool: `avg` or `max`.
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pooled: int
    pool: str = "avg"

    @property
    def passes_input(self) -> bool:
        """Whether the pooled maps are passed on as they are."""
        return self.pooled == 0


# The table of the paper, with the widths of 4c and 4d that the weights in use have (608 channels instead of 576).
_BLOCKS = {
    "3a": _Sizes(64, (64, 64), (64, 96), 32),
    "3b": _Sizes(64, (64, 96), (64, 96), 64),
    "3c": _Sizes(0, (128, 160), (64, 96), 0, "max"),
    "4a": _Sizes(224, (64, 96), (96, 128), 128),
    "4b": _Sizes(192, (96, 128), (96, 128), 128),
    "4c": _Sizes(160, (128, 160), (128, 160), 128),
    "4d": _Sizes(96, (128, 192), (160, 192), 128),
    "4e": _Sizes(0, (128, 192), (192, 256), 0, "max"),
    "5a": _Sizes(352, (192, 320), (160, 224), 128),
    "5b": _Sizes(352, (192, 320), (192, 224), 128, "max"),
}


class BNInception(nn.Module):
    """From images, shape (B, 3, H, W), to features, shape (B, 1024), or logits.

    Attributes:
        num_features: 1024.
        num_layers: The stem, each inception block, and the classifier where there is one.

    Args:
        num_classes: Length of the output; 0 gives the features.
    """

    num_features = 1024

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=ConvNormAct(3, 64, 7, stride=2),
                pool1=nn.MaxPool2d(3, 2, ceil_mode=True),
                reduce2=ConvNormAct(64, 64, 1),
                conv2=ConvNormAct(64, 192, 3),
                pool2=nn.MaxPool2d(3, 2, ceil_mode=True),
            )
        )
        blocks = OrderedDict[str, nn.Module]()
        channels = 192
        for name, sizes in _BLOCKS.items():
            blocks[name] = Inception(channels, sizes)
            channels = sizes.one + sizes.three[1] + sizes.double[1] + (sizes.pooled or channels)
        self.blocks = nn.Sequential(blocks)
        self.fc = nn.Linear(channels, num_classes) if checked_classes(num_classes) else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self._layer_ids = layer_ids((name for name, _ in self.named_parameters()), r"blocks\.\w+|fc")
        self.num_layers = 1 + max(self._layer_ids.values())

    def forward(self, x: Tensor) -> Tensor:
        """Return features or logits of images."""
        features: Tensor = self.blocks(self.stem(x)).mean(dim=(2, 3))
        return features if self.fc is None else self.fc(features)

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return self._layer_ids[name]

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())


class Inception(nn.Module):
    """Up to four branches side by side, joined along the channels.

    Args:
        channels: Channels of the input.
        sizes: Those of the branches.
    """

    def __init__(self, channels: int, sizes: _Sizes) -> None:
        super().__init__()
        stride = 2 if sizes.passes_input else 1
        self.one = ConvNormAct(channels, sizes.one, 1) if sizes.one else None
        (small, wide), (narrow, broad) = sizes.three, sizes.double
        self.three = nn.Sequential(
            OrderedDict(reduce=ConvNormAct(channels, small, 1), conv=ConvNormAct(small, wide, 3, stride=stride))
        )
        self.twice = nn.Sequential(
            OrderedDict(
                reduce=ConvNormAct(channels, narrow, 1),
                conv1=ConvNormAct(narrow, broad, 3),
                conv2=ConvNormAct(broad, broad, 3, stride=stride),
            )
        )
        self.pool = sizes.pool
        self.proj = None if sizes.passes_input else ConvNormAct(channels, sizes.pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map maps, shape (B, C, H, W), to maps of the same or half the sides."""
        branches = [] if self.one is None else [self.one(x)]
        branches += [self.three(x), self.twice(x)]
        if self.proj is None:
            # As many windows as the convolutions have: the first begins at the border, what is behind the last counts
            # nothing, because no value is below 0.
            height, width = x.shape[2:]
            branches.append(F.max_pool2d(F.pad(x, (0, 1 + width % 2, 0, 1 + height % 2)), 3, 2))
        elif self.pool == "max":
            branches.append(self.proj(F.max_pool2d(x, 3, 1, 1)))
        else:
            branches.append(self.proj(F.avg_pool2d(x, 3, 1, 1)))
        return torch.cat(branches, dim=1)


class ConvNormAct(nn.Sequential):
    """A convolution, a batch normalisation and a rectifier; with a bias, as the weights in use have one.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, an odd number.
        stride: Stride of the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            OrderedDict(
                conv=nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2),
                norm=nn.BatchNorm2d(out_channels),
                act=nn.ReLU(inplace=True),
            )
        )


def create_bn_inception(num_classes: int = 0) -> BNInception:
    """Build the network of TSN for images, also as the network of `create_frame_model`.

    Args:
        num_classes: Length of the output; 0 gives the features.

    Raises:
        ConfigError: A negative number of classes.

    >>> sum(p.numel() for p in create_bn_inception(1000).parameters())
    11295240
    """
    return BNInception(num_classes)
