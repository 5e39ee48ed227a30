"""Residual networks for images, those of torchvision, parameter names included, so that its weights load.

Papers: ResNet, https://arxiv.org/abs/1512.03385; Wide ResNet, https://arxiv.org/abs/1605.07146; ResNeXt,
https://arxiv.org/abs/1611.05431. Bottlenecks have their stride in the 3 x 3 convolution ("ResNet v1.5").
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

from torch import nn
from torchvision.models import get_model_weights
from torchvision.models import resnet as torchvision_resnet

from eztorch.models.trunks.parts import checked_classes
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Network(NamedTuple):
    """What the name of a network stands for."""

    block: type[nn.Module]
    blocks: tuple[int, ...]
    groups: int = 1
    width_per_group: int = 64


_BASIC, _BOTTLENECK = torchvision_resnet.BasicBlock, torchvision_resnet.Bottleneck
_NETWORKS = {
    "resnet18": _Network(_BASIC, (2, 2, 2, 2)),
    "resnet34": _Network(_BASIC, (3, 4, 6, 3)),
    "resnet50": _Network(_BOTTLENECK, (3, 4, 6, 3)),
    "resnet101": _Network(_BOTTLENECK, (3, 4, 23, 3)),
    "resnet152": _Network(_BOTTLENECK, (3, 8, 36, 3)),
    "resnext50_32x4d": _Network(_BOTTLENECK, (3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x8d": _Network(_BOTTLENECK, (3, 4, 23, 3), groups=32, width_per_group=8),
    "wide_resnet50_2": _Network(_BOTTLENECK, (3, 4, 6, 3), width_per_group=128),
    "wide_resnet101_2": _Network(_BOTTLENECK, (3, 4, 23, 3), width_per_group=128),
}


class ResNet(torchvision_resnet.ResNet):
    """A residual network for images, built by `create_resnet`: from (B, 3, H, W) to features or logits.

    Attributes:
        num_features: Length of the features, those before the classifier.
        num_layers: Number of layers for layer-wise learning rates: the stem, each residual block, and the classifier
            where there is one.

    Args:
        network: Kind and number of its blocks.
        num_classes: Length of the output; 0 gives the features.
        small_input: Begin with a 3 x 3 convolution without stride and no pooling, for images of 32 x 32 and 64 x 64.
        **options: Further arguments of torchvision's `ResNet`, for example `zero_init_residual`.
    """

    conv1: Any  # torchvision leaves their types open
    fc: Any
    maxpool: Any

    def __init__(self, network: _Network, *, num_classes: int, small_input: bool, **options: Any) -> None:
        super().__init__(
            network.block,
            list(network.blocks),
            num_classes=max(num_classes, 1),
            groups=network.groups,
            width_per_group=network.width_per_group,
            **options,
        )
        self.num_features = int(self.fc.in_features)
        self.num_layers = 1 + sum(network.blocks) + (num_classes > 0)
        self._first_layers = dict(zip(_STAGES, accumulate(network.blocks, initial=1), strict=False))
        if num_classes == 0:
            self.fc = nn.Identity()
        if small_input:
            self.conv1 = nn.Conv2d(3, self.conv1.out_channels, kernel_size=3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's others
            self.maxpool = nn.Identity()

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to: the stem is 0, then come the residual blocks, then `fc`."""
        part, _, rest = name.partition(".")
        if part in _STAGES:
            return self._first_layers[part] + int(rest.partition(".")[0])
        return self.num_layers - 1 if part == "fc" else 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())


def create_resnet(
    name: str,
    num_classes: int = 1000,
    pretrained: bool | str = False,
    progress: bool = True,
    small_input: bool = False,
    **options: Any,
) -> ResNet:
    """Build a residual network for images.

    Args:
        name: `resnet{18,34,50,101,152}`, `resnext50_32x4d`, `resnext101_32x8d`, `wide_resnet50_2` or
            `wide_resnet101_2`.
        num_classes: Length of the output; 0 gives the features before the classifier.
        pretrained: True for torchvision's `IMAGENET1K_V1` weights, or the name of others; they are downloaded once. A
            classifier of other than 1000 classes starts anew.
        progress: Whether the download is shown.
        small_input: Begin with a 3 x 3 convolution without stride and no pooling (SimCLR's stem for CIFAR-10,
            arXiv 2002.05709, appendix B.9).
        **options: Further arguments of torchvision's `ResNet`, for example `zero_init_residual`.

    Raises:
        ConfigError: An unknown network, option or name of weights, a negative number of classes, or pretrained weights
            of a small stem, which there are none of.

    >>> network = create_resnet("resnet18", num_classes=0, small_input=True)
    >>> network.num_features, sum(p.numel() for p in network.parameters())
    (512, 11168832)
    """
    network = choose(_NETWORKS, name, "name")
    checked_classes(num_classes)
    if pretrained and small_input:
        raise ConfigError(f"small_input=true: there are no pretrained weights of {name} with a small stem.")
    weights = _weights(name, "IMAGENET1K_V1" if pretrained is True else pretrained) if pretrained else None
    try:
        model = ResNet(network, num_classes=num_classes, small_input=small_input, **options)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}") from error
    if weights is not None:
        state = weights.get_state_dict(progress=progress, check_hash=True)
        if num_classes != 1000:
            state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        missing, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or any(not key.startswith("fc.") for key in missing):
            raise ConfigError(f"The weights of {name} do not fit: missing {missing}, unexpected {unexpected}.")
    return model


def _weights(name: str, which: str | bool) -> Any:
    offered = get_model_weights(name)
    return choose({one.name: one for one in offered}, str(which), "pretrained")
