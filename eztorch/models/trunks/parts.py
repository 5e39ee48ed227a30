"""Parts of networks that a configuration names, and checks that these have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


def build_part(table: Mapping[str, str], part: str | Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """Build a part of a network by its name.

    Args:
        table: What there is by name: the target of a class or a function.
        part: A name, a mapping of a `name` and options, or a spec of one's own.
        key: Configuration key of the part, for the message.
        **arguments: What the network gives every such part.

    Raises:
        ConfigError: The name is not known, or an option is not.

    >>> build_part({"norm": "torch.nn.LayerNorm"}, {"name": "norm", "eps": 0.1}, "norm", normalized_shape=8)
    LayerNorm((8,), eps=0.1, elementwise_affine=True, bias=True)
    """
    if is_spec(part):
        return build(part, **arguments)
    named = {"name": part} if isinstance(part, str) else part
    if not isinstance(named, Mapping) or "name" not in named:
        raise ConfigError(f"{key}={part!r}; expected a name, or a mapping of a name and options.")
    options = {option: value for option, value in named.items() if option != "name"}
    return build({"_target_": choose(table, named["name"], f"{key}.name"), **options}, **arguments)


def checked_classes(num_classes: int) -> int:
    """Return the number of classes, 0 for a network that gives features.

    Raises:
        ConfigError: It is negative.
    """
    if num_classes < 0:
        raise ConfigError(f"num_classes={num_classes}; expected the number of classes, or 0 for features.")
    return num_classes
