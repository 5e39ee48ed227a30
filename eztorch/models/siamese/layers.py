"""The layers of several networks in a row, for layer-wise learning rates."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from eztorch.utils.errors import ConfigError


def count(networks: Mapping[str, nn.Module]) -> int:
    """Return the number of layers of networks by name.

    Raises:
        ConfigError: A network does not tell its layers.
    """
    return sum(_layers_of(network, name) for name, network in networks.items())


def layer_of(parameter: str, networks: Mapping[str, nn.Module]) -> int:
    """Return the layer that a parameter belongs to: those of the first network come first.

    Args:
        parameter: Its name, which begins with that of its network.
        networks: The networks in their order, by name.

    Raises:
        ConfigError: The parameter is of none of them, or a network does not tell its layers.
    """
    part, _, rest = parameter.partition(".")
    if part not in networks:
        raise ConfigError(f"Parameter {parameter!r} is not of the online branch ({', '.join(networks)}).")
    _layers_of(networks[part], part)
    names = list(networks)
    before = count({name: networks[name] for name in names[: names.index(part)]})
    return before + int(networks[part].get_param_layer_id(rest))  # type: ignore[operator]  # told by _layers_of


def _layers_of(network: nn.Module, name: str) -> int:
    if not (hasattr(network, "num_layers") and hasattr(network, "get_param_layer_id")):
        raise ConfigError(
            f"Layer-wise learning rates (optimizer.layer_decay_lr) need num_layers and get_param_layer_id, "
            f"and model.{name}, a {type(network).__name__}, does not have them."
        )
    return int(network.num_layers)  # type: ignore[arg-type]  # what nn.Module says of every attribute
