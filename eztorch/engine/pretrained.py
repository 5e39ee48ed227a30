"""The weights that a run begins with: the section `pretrained`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eztorch.utils.config import is_spec
from eztorch.utils.errors import ConfigError

_LOADER = "eztorch.models.weights.pretrained_trunk"
_NETWORKS = ("trunk", "model")  # of self-supervised models, of classifiers
_PREDECESSORS_KEY = "pretrained_trunk_path"


def network_key(model: Mapping[str, Any]) -> str | None:
    """Return the key of a model that describes its network, None where there is none.

    >>> network_key({"_target_": "eztorch.models.SupervisedModel", "model": {"_target_": "a.b"}})
    'model'
    """
    return next((name for name in _NETWORKS if is_spec(model.get(name))), None)


def with_pretrained(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the loading of weights around the network of the model, where the configuration asks for it.

    So every model can begin with weights, and a target that is a copy of the network begins with them too.

    Args:
        config: Resolved configuration; it is not changed.

    Raises:
        ConfigError: The section is no mapping, or the model has no network to load weights into.

    >>> config = {"model": {"trunk": {"_target_": "a.b"}}, "pretrained": {"path": "x.ckpt", "strict": True}}
    >>> with_pretrained(config)["model"]["trunk"]["path"]
    'x.ckpt'
    """
    section = config.get("pretrained")
    if section is None:
        return config
    if not isinstance(section, Mapping):
        raise ConfigError(f"pretrained={section!r}; expected a mapping: write pretrained.path={section}.")
    if section.get("path") is None:
        return config
    model = config.get("model")
    if not isinstance(model, Mapping):  # which the check of the configuration tells
        return config
    if model.get(_PREDECESSORS_KEY) is not None:
        raise ConfigError(
            f"pretrained.path={section['path']} and model.{_PREDECESSORS_KEY}={model[_PREDECESSORS_KEY]} both say what "
            "the trunk begins with; write one of them."
        )
    network = network_key(model)
    if network is None:
        raise ConfigError(f"pretrained.path={section['path']}: model has neither trunk nor model to load weights into.")
    loaded = {"_target_": _LOADER, "_recursive_": False, **section, "trunk": model[network]}
    return {**config, "model": {**model, network: loaded}}


def without_pretrained(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what names weights to begin with, for a task that takes all of them from its checkpoint.

    Args:
        config: Resolved configuration; it is not changed.

    >>> without_pretrained({"model": {"trunk": {}, "pretrained_trunk_path": "x.ckpt"}})
    {'model': {'trunk': {}}}
    """
    model = config.get("model")
    if not isinstance(model, Mapping) or model.get(_PREDECESSORS_KEY) is None:
        return config
    left = {key: value for key, value in model.items() if key not in (_PREDECESSORS_KEY, "trunk_pattern")}
    return {**config, "model": left}
