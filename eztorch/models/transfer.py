"""A classifier on a trunk that was trained before: what fine-tuning and linear evaluation share."""

from __future__ import annotations

from typing import Any

from torch import nn

from eztorch.models.weights import pretrained_trunk
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


def build_trunk(trunk: Any, path: str | None, pattern: str | None) -> nn.Module:
    """Build a trunk, with the weights of a file where there is one.

    Args:
        trunk: Module, or spec of one.
        path: `pretrained_trunk_path`; see `eztorch.models.weights.load_weights`.
        pattern: `trunk_pattern`; what the names of the trunk begin with in the file, None: found out.

    Raises:
        ConfigError: The weights do not load, or there is a pattern without a path.
    """
    if path is not None:
        return pretrained_trunk(trunk, path, pattern, key="model.pretrained_trunk_path")
    if pattern is not None:
        raise ConfigError(f"model.trunk_pattern={pattern!r} is of model.pretrained_trunk_path, which is not given.")
    module: nn.Module = build(trunk)
    return module


def build_classifier(classifier: Any, trunk: nn.Module) -> nn.Module:
    """Build the classifier of the features of a trunk.

    Args:
        classifier: Module, or spec of one.
        trunk: What gives the features.

    Raises:
        ConfigError: It takes another number of features than the trunk gives, where both tell.
    """
    module: nn.Module = build(classifier)
    given, taken = getattr(trunk, "num_features", None), getattr(module, "input_dim", None)
    if isinstance(given, int) and isinstance(taken, int) and given != taken:
        raise ConfigError(f"model.classifier takes {taken} features, and the trunk gives {given}: write {given} there.")
    return module


def count_layers(trunk: Any, classifier: Any) -> int:
    """Return the number of layers of both for layer-wise rates; a classifier that does not tell has one.

    >>> count_layers(nn.Linear(2, 2), nn.Linear(2, 2))
    Traceback (most recent call last):
    AttributeError: 'Linear' object has no attribute 'num_layers'
    """
    return int(trunk.num_layers) + int(getattr(classifier, "num_layers", 1))


def layer_of(name: str, trunk: Any, classifier: Any) -> int:
    """Return the layer of a parameter `trunk.*` or `classifier.*`: those of the trunk first."""
    part, _, rest = name.partition(".")
    if part == "trunk":
        return int(trunk.get_param_layer_id(rest))
    own = classifier.get_param_layer_id(rest) if hasattr(classifier, "get_param_layer_id") else 0
    return int(trunk.num_layers) + int(own)
