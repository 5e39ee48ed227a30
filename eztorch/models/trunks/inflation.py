"""Weights of networks for images in networks for clips (I3D, https://arxiv.org/abs/1705.07750, section 2.4.1).

A kernel is repeated over time and divided by its length, so that a clip that does not change gives the features of its
frame wherever the padding over time is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


def _mean(weight: Tensor, time: int) -> Tensor:
    return weight.unsqueeze(2).expand(-1, -1, time, -1, -1) / time


def _centre(weight: Tensor, time: int) -> Tensor:
    inflated = weight.new_zeros(*weight.shape[:2], time, *weight.shape[2:])
    inflated[:, :, time // 2] = weight
    return inflated


_MODES: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": _mean, "centre": _centre}


def inflate_weight(weight: Tensor, time: int, mode: str = "mean") -> Tensor:
    """Return a kernel of a convolution over images as one over clips.

    Args:
        weight: Shape (out, in, H, W).
        time: Length of the kernel over time, T.
        mode: `mean` repeats it, divided by T; `centre` puts it at the middle among zeros, which no padding changes.

    Returns:
        Shape (out, in, T, H, W).

    Raises:
        ConfigError: The mode is not known.

    >>> import torch
    >>> inflate_weight(torch.full((1, 1, 1, 1), 6.0), 3).flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    return choose(_MODES, mode, "mode")(weight, time)


def load_inflated(model: nn.Module, images: Mapping[str, Tensor], mode: str = "mean") -> list[str]:
    """Load the weights of one of torchvision's residual networks into a 3D network of ours of the same kind and depth.

    Non-local blocks, which a network for images has none of, keep the values that they have.

    Args:
        model: A `ResNet3d`.
        images: State dict of torchvision's network; a classifier in it is left out.
        mode: See `inflate_weight`.

    Returns:
        Names of the parameters and buffers that keep their values.

    Raises:
        ConfigError: A weight of either side has no counterpart, or another shape.
    """
    stages = [i for i, block in enumerate(model.get_submodule("blocks").children()) if hasattr(block, "res_blocks")]
    wanted = model.state_dict()
    found: dict[str, Tensor] = {}
    for name, value in images.items():
        if name.startswith("fc."):
            continue
        key = _counterpart(name, stages)
        if key not in wanted:
            raise ConfigError(f"{name} of the network for images has no place in the 3D network, which has no {key}.")
        shape = wanted[key].shape
        inflated = inflate_weight(value, shape[2], mode) if value.ndim == 4 and len(shape) == 5 else value
        if inflated.shape != shape:
            raise ConfigError(f"{name} has the shape {tuple(value.shape)}; it does not fit {key}, {tuple(shape)}.")
        found[key] = inflated
    kept = [key for key in wanted if key not in found]
    missing = [key for key in kept if ".non_local." not in key]
    if missing:
        raise ConfigError(f"The network for images has no weights for {_some(missing)}.")
    model.load_state_dict(found, strict=False)
    return kept


def _counterpart(name: str, stages: list[int]) -> str:
    """Return the name of a weight of torchvision's residual networks in ours; `stages` numbers the blocks of these.

    >>> _counterpart("layer2.0.bn3.running_mean", [1, 3, 4, 5])
    'blocks.3.res_blocks.0.branch2.norm_c.running_mean'
    >>> _counterpart("conv1.weight", [1, 2, 3, 4])
    'blocks.0.conv.weight'
    """
    kinds = {"conv": "conv", "bn": "norm"}
    if match := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"blocks.0.{kinds[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"layer([1-4])\.(\d+)\.(?:(conv|bn)([1-3])|downsample\.([01]))\.(\w+)", name):
        layer, block, kind, number, projection, rest = match.groups()
        part = (
            f"branch2.{kinds[kind]}_{'abc'[int(number) - 1]}"
            if kind
            else f"branch1_{('conv', 'norm')[int(projection)]}"
        )
        return f"blocks.{stages[int(layer) - 1]}.res_blocks.{block}.{part}.{rest}"
    return name


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
