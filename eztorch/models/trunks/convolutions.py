"""What the 3 x 3 convolutions of a network are: plain, or calibrated for each frame (TAda)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from eztorch.models.trunks.parts import build_part
from eztorch.modules.frames import conv_arguments
from eztorch.modules.tada import TAdaConv2d, TAdaConv3d
from eztorch.utils.errors import ConfigError

_CONVOLUTIONS = {
    "plain": "eztorch.models.trunks.convolutions.plain_conv",
    "tada": "eztorch.models.trunks.convolutions.adaptive_conv",
}


def make_conv(convolution: str | Mapping[str, Any], conv: nn.Module) -> Any:
    """Build what stands in the place of a convolution, which has its parameters under the same names.

    Args:
        convolution: `plain`, `tada`, a mapping of one of these and its options, or a spec that is also given `conv`.
        conv: The convolution.

    Raises:
        ConfigError: An unknown name or option.
    """
    return build_part(_CONVOLUTIONS, convolution, "convolution", conv=conv)


def replace_spatial_convs(
    network: nn.Module, convolution: str | Mapping[str, Any], layer_of: Callable[[str], int]
) -> None:
    """Change those convolutions of a 3D network that have no length over time, behind its stem.

    Args:
        network: The network, which is changed.
        convolution: See `make_conv`.
        layer_of: The layer of a parameter; that of the stem is 0.

    Raises:
        ConfigError: An unknown name or option, or there are no such convolutions.
    """
    if convolution == "plain":
        return
    spatial = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv3d)
        and module.kernel_size[0] == 1 < max(module.kernel_size[1:])
        and layer_of(f"{name}.weight") > 0
    ]
    if not spatial:
        raise ConfigError(f"convolution={convolution!r}: the network has no 1 x 3 x 3 convolutions behind its stem.")
    for name, module in spatial:
        network.set_submodule(name, make_conv(convolution, module))


def plain_conv(conv: nn.Module) -> nn.Module:
    """Leave a convolution as it is."""
    return conv


def adaptive_conv(
    conv: nn.Conv2d | nn.Conv3d, *, reduction: int = 4, kernel_sizes: Sequence[int] = (3, 3)
) -> TAdaConv2d | TAdaConv3d:
    """Build the temporally adaptive convolution that begins as a given one, whose parameters it takes over."""
    kind: Any = TAdaConv3d if isinstance(conv, nn.Conv3d) else TAdaConv2d
    adaptive: TAdaConv2d | TAdaConv3d = kind(**conv_arguments(conv), reduction=reduction, kernel_sizes=kernel_sizes)
    adaptive.weight, adaptive.bias = conv.weight, conv.bias
    return adaptive
