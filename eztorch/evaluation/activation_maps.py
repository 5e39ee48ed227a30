"""Where in a clip a network saw the class: Grad-CAM (arXiv 1610.02391)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from eztorch.evaluation.features import evaluating
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean


class _Seen(NamedTuple):
    """What a module gave out, in the order in which modules end.

    Attributes:
        name: Of the module.
        output: Feature maps, shape (1, C, t, h, w) or (t, C, h, w), or tokens, shape (1, N, C) or (t, N, C).
        grid: Grid of the tokens, where the module says it.
    """

    name: str
    output: Tensor
    grid: tuple[int, ...] | None


def class_activation_maps(
    model: nn.Module, clip: Tensor, layer: str | None = None, class_index: int | None = None
) -> Tensor:
    """Return how much each place of a clip speaks for a class.

    Of the feature maps A_k of a layer and the logit y of the class it is ReLU(sum_k a_k A_k), a_k being the mean of
    dy/dA_k over all places in time and space (arXiv 1610.02391, equations 1 and 2). Of a transformer the A_k are the
    components of its patch tokens, which stand in a grid; the class token has no place and is left out.

    The model runs once, in evaluation mode, and is put back as it was; its parameters have no gradient from it.

    Args:
        model: From a batch, shape (1, C, T, H, W) or (1, C, H, W), to logits, shape (1, K).
        clip: As the model takes it, shape (C, T, H, W), or an image, shape (C, H, W), for which T is 1.
        layer: Name of the module whose output is looked at, as `named_modules` has it; by default the last one that
            gives maps or a grid of tokens of which the class depends on more than one place.
        class_index: The class; by default that of the highest logit.

    Returns:
        From 0 to 1, 0 everywhere where nothing speaks for the class, shape (T, H, W).

    Raises:
        ConfigError: The model has no such layer or class, or no layer with places.

    >>> model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> class_activation_maps(model, torch.rand(3, 4, 8, 8)).shape
    torch.Size([4, 8, 8])
    """
    if clip.ndim not in (3, 4):
        raise ConfigError(f"A clip has the shape (C, T, H, W), an image (C, H, W); got {tuple(clip.shape)}.")
    _check_layer(model, layer)
    with evaluating(model), torch.inference_mode(False), torch.enable_grad(), _watching(model) as seen:
        # A copy of a leaf: the first layer may work in place.
        score = _score(model(clip.detach().clone()[None].requires_grad_().clone()), class_index)
        gradients = torch.autograd.grad(score, [one.output for one in seen], allow_unused=True) if seen else ()
    for place in reversed(range(len(seen))):
        one, gradient = seen[place], gradients[place]
        if gradient is None or (layer is not None and one.name != layer):
            continue
        maps, slopes = (_as_maps(values, one, seen[:place], clip) for values in (one.output.detach(), gradient))
        if maps is None or slopes is None:
            continue
        if layer is not None or (maps[0, 0].numel() > 1 and _depends_on_places(slopes)):
            return _weighted(maps.float(), slopes.float(), clip)
    where = f"layer={layer!r}" if layer is not None else "The model"
    raise ConfigError(
        f"{where} gives neither feature maps nor a grid of tokens that the class depends on, so there is no map of it."
    )


def _check_layer(model: nn.Module, layer: str | None) -> None:
    names = [name for name, _ in model.named_modules()]
    if layer is not None and layer not in names:
        hint = did_you_mean(layer, names, "named_modules() of it gives their names.")
        raise ConfigError(f"layer={layer!r}: the model has no module of this name.{hint}")


def _score(logits: Any, class_index: int | None) -> Tensor:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"Class activation maps need a model that gives logits of the shape (1, K); got {shape}.")
    if class_index is None:
        class_index = int(logits.argmax())
    if not 0 <= class_index < logits.shape[1]:
        raise ConfigError(f"class_index={class_index}: the model has {logits.shape[1]} classes, from 0.")
    return logits[0, class_index]


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[_Seen]]:
    """Keep what the modules of a model give out that may have places: tensors of 3 to 5 dimensions."""
    seen: list[_Seen] = []

    def watch(name: str, output: Any) -> None:
        grid = None
        if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], tuple | list | torch.Size):
            if all(isinstance(side, int) for side in output[1]):
                grid = tuple(output[1])
            output = output[0]
        if isinstance(output, Tensor) and output.requires_grad and 3 <= output.ndim <= 5:
            seen.append(_Seen(name, output, grid))

    handles = [
        module.register_forward_hook(lambda module, arguments, output, name=name: watch(name, output))
        for name, module in model.named_modules()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _as_maps(values: Tensor, one: _Seen, before: Sequence[_Seen], clip: Tensor) -> Tensor | None:
    """Return an output, or a gradient of it, as maps, shape (C, t, h, w); None where it has no places.

    Args:
        values: The output or its gradient.
        one: What is known of it.
        before: What ended before it, which tells in which grid its tokens stand.
        clip: The clip.
    """
    if values.ndim == 5:
        return values[0] if len(values) == 1 and _has_sides_of(values, clip) else None
    if values.ndim == 4:  # frames as the images of a batch; attention between tokens has such a shape, too
        side = values.shape[2]
        is_attention = side == values.shape[3] and any(
            two.output.ndim == 3 and side in two.output.shape for two in before
        )
        return values.transpose(0, 1) if _has_sides_of(values, clip) and not is_attention else None
    grid = one.grid or _grid_before(one.output, before)
    if grid is None:
        return None
    tokens = values[:, values.shape[1] - prod(grid) :]
    maps: Tensor = tokens.transpose(1, 2).unflatten(2, grid)
    if len(grid) == 2:  # each frame has its grid
        return maps.transpose(0, 1)
    return maps[0] if len(maps) == 1 else None


def _has_sides_of(maps: Tensor, clip: Tensor) -> bool:
    """Say whether the sides of maps are to each other as those of a clip, up to a place more or less."""
    (high, wide), (height, width) = maps.shape[-2:], clip.shape[-2:]
    return abs(high * width - wide * height) <= max(height, width)


def _grid_before(tokens: Tensor, before: Sequence[_Seen]) -> tuple[int, ...] | None:
    """Return the grid of tokens: that of the last maps, or of tokens with a known one, of as many places and channels.

    Maps have it where patches become tokens. A class token may stand before the others.
    """
    batch, length, channels = tokens.shape
    for one in reversed(before):
        shape = one.output.shape
        if one.output.ndim == 3:
            grid, width = one.grid, shape[2]
        else:
            grid, width = tuple(shape[2:]), shape[1]
        if grid is not None and (shape[0], width) == (batch, channels) and length - prod(grid) in (0, 1):
            return grid
    return None


def _depends_on_places(slopes: Tensor) -> bool:
    return int((slopes != 0).any(dim=0).sum()) > 1


def _weighted(maps: Tensor, slopes: Tensor, clip: Tensor) -> Tensor:
    """Return the map of a clip, shape (T, H, W), from feature maps and their gradients, shape (C, t, h, w)."""
    heat = functional.relu((slopes.mean(dim=(1, 2, 3), keepdim=True) * maps).sum(dim=0))
    size = tuple(clip.shape[1:]) if clip.ndim == 4 else (1, *clip.shape[1:])
    heat = functional.interpolate(heat[None, None], size, mode="trilinear", align_corners=False)[0, 0]
    highest = heat.max()
    return heat / highest if highest > 0 else heat
