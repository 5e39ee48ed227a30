"""Sorting the parameters of a model into groups by weight decay and learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from eztorch.utils.errors import ConfigError

# `_NormBase` is the base of every batch norm (synchronized, split, lazy) and of every instance norm.
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def param_groups(
    model: nn.Module,
    lr: float,
    *,
    layer_decay_lr: float | None = None,
    keys_without_decay: Sequence[str] = (),
    exclude_wd_norm: bool = False,
    exclude_wd_bias: bool = False,
    multiply_parameters: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Put every learnable parameter in exactly one group.

    A group carries its own `lr`, and in `lr_scale` the ratio of that to the base rate, so it is honoured with every
    scheduler and without one. Groups without weight decay carry `weight_decay: 0.0`. Several groups have a `name` each.

    Args:
        model: Its parameters that require a gradient are learnable, of its `learnable_params` where it has that.
        lr: Base rate.
        layer_decay_lr: A factor d: layer i of n learns at `lr * d ** (n - 1 - i)`, with n from `model.num_layers` and i
            from `model.get_param_layer_id(name)`.
        keys_without_decay: Parameters whose dotted name ends in one of these (`bias`, `pos_embed`, `head.weight`) have
            no weight decay.
        exclude_wd_norm: Whether the parameters of normalization layers have no weight decay.
        exclude_wd_bias: Whether the parameters called `bias` have no weight decay.
        multiply_parameters: Entries `{params: pattern, lr: factor}`: parameters whose dotted name matches the regular
            expression from its start (the name of a submodule will do) learn at `factor` times their rate. Factors of
            several entries multiply.

    Raises:
        ConfigError: There is nothing to learn, or an option matches no parameter or does not fit the model.
    """
    decays = _decay_rule(model, keys_without_decay, norm=exclude_wd_norm, bias=exclude_wd_bias)
    layer_of = _layer_rule(model, layer_decay_lr)
    factor_of = _factor_rule(model, multiply_parameters)
    groups: dict[tuple[bool, int | None, float], dict[str, Any]] = {}
    for name, parameter in _learnable(model).items():
        layer, scale = layer_of(name)
        factor = factor_of(name)
        kind = (decays(name, parameter), layer, factor)
        if kind not in groups:
            groups[kind] = {"params": [], "lr": lr * scale * factor, "lr_scale": scale * factor}
            if not kind[0]:
                groups[kind]["weight_decay"] = 0.0
        groups[kind]["params"].append(parameter)
    if len(groups) > 1:
        for kind, group in groups.items():
            group["name"] = _group_name(*kind)
    return list(groups.values())


def _learnable(model: nn.Module) -> dict[str, nn.Parameter]:
    listed = getattr(model, "learnable_params", None)
    allowed = None if listed is None else {id(parameter) for parameter in listed}
    found = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (allowed is None or id(parameter) in allowed)
    }
    if not found:
        raise ConfigError(f"{type(model).__name__} has no parameter to optimize: all are frozen, or there are none.")
    return found


def _decay_rule(
    model: nn.Module, keys: Sequence[str], *, norm: bool, bias: bool
) -> Callable[[str, nn.Parameter], bool]:
    endings = {key: f".{key}" for key in keys}
    for key, ending in endings.items():
        if not any(f".{name}".endswith(ending) for name, _ in model.named_parameters()):
            raise ConfigError(f"keys_without_decay: no name of a parameter ends in {key!r}.")
    excluded = (*endings.values(), ".bias") if bias else tuple(endings.values())
    modules = (module for module in model.modules() if norm and isinstance(module, _NORMS))
    norm_parameters = {id(parameter) for module in modules for parameter in module.parameters(recurse=False)}
    return lambda name, parameter: id(parameter) not in norm_parameters and not f".{name}".endswith(excluded)


def _layer_rule(model: nn.Module, decay: float | None) -> Callable[[str], tuple[int | None, float]]:
    if decay is None:
        return lambda name: (None, 1.0)
    if decay <= 0:
        raise ConfigError(f"layer_decay_lr={decay} must be positive.")
    if not hasattr(model, "num_layers") or not hasattr(model, "get_param_layer_id"):
        raise ConfigError(
            f"layer_decay_lr={decay} needs a model whose trunk tells its layers (`num_layers`, `get_param_layer_id`); "
            f"that of {type(model).__name__} does not."
        )
    layers: Any = model  # nn.Module types every attribute as a tensor or a module
    count: int = layers.num_layers

    def layer_of(name: str) -> tuple[int | None, float]:
        layer: int = layers.get_param_layer_id(name)
        if not 0 <= layer < count:
            raise ConfigError(f"layer_decay_lr: {name} is in layer {layer}, and there are layers 0 to {count - 1}.")
        return layer, decay ** (count - 1 - layer)

    return layer_of


def _factor_rule(model: nn.Module, entries: Sequence[Mapping[str, Any]]) -> Callable[[str], float]:
    factors: list[tuple[re.Pattern[str], float]] = []
    for entry in entries:
        if set(entry) != {"params", "lr"} or not entry["lr"] > 0:
            raise ConfigError(f"multiply_parameters: {dict(entry)} must be {{params: pattern, lr: positive factor}}.")
        try:
            pattern = re.compile(entry["params"])
        except re.error as error:
            raise ConfigError(f"multiply_parameters: {entry['params']!r} is no regular expression: {error}.") from error
        if not any(pattern.match(name) for name, _ in model.named_parameters()):
            raise ConfigError(f"multiply_parameters: no name of a parameter matches {entry['params']!r}.")
        factors.append((pattern, float(entry["lr"])))

    def factor_of(name: str) -> float:
        return math.prod(factor for pattern, factor in factors if pattern.match(name))

    return factor_of


def _group_name(decays: bool, layer: int | None, factor: float) -> str:
    parts = ["decay" if decays else "no_decay"]
    if layer is not None:
        parts.insert(0, f"layer_{layer}")
    if factor != 1.0:
        parts.append(f"x{factor:g}")
    return "_".join(parts)
