"""Where in a network features are taken, and how they become one row a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, did_you_mean

_OUTPUT = "output"
_POOLINGS = {name: name for name in ("average", "average_max", "class", "tokens")}


class FeatureSource(NamedTuple):
    """A place in a network.

    Attributes:
        layer: Name of a module, or `output` for what the network gives.
        pooling: `average` over time and space, or over all tokens; `average_max`: that, and the maximum behind it;
            `class`: the class token; `tokens`: the mean of all others.
    """

    layer: str
    pooling: str

    @property
    def label(self) -> str:
        """Return how it is written: `layer/pooling`."""
        return f"{self.layer}/{self.pooling}"


def read_source(text: str) -> FeatureSource:
    """Read a source as configurations write it: `LAYER`, pooled by the average, or `LAYER/POOLING`.

    Raises:
        ConfigError: There is no such pooling.

    >>> read_source("blocks.4/average_max")
    FeatureSource(layer='blocks.4', pooling='average_max')
    """
    layer, _, pooling = text.partition("/")
    return FeatureSource(layer, choose(_POOLINGS, pooling or "average", f"sources: {text}"))


class SourceFeatures(nn.Module):
    """A network that gives the features of several sources, side by side.

    Attributes:
        widths: Length of the features of each source, once a batch has been seen.

    Args:
        network: The network.
        sources: Where to take features.

    Raises:
        ConfigError: There is no source, or the network has no module of that name.
    """

    def __init__(self, network: nn.Module, sources: Sequence[FeatureSource]) -> None:
        super().__init__()
        if not sources:
            raise ConfigError("sources: name at least one place to take features, such as output.")
        self.network = network
        self.sources = tuple(sources)
        self.widths: list[int] = []
        self._has_class_token = any(getattr(module, "cls_token", None) is not None for module in network.modules())
        self._seen: dict[str, Any] = {}
        modules = dict(network.named_modules())
        for layer in dict.fromkeys(source.layer for source in sources if source.layer != _OUTPUT):
            module = _find(modules, layer)
            module.register_forward_hook(partial(self._keep, layer))

    def _keep(self, layer: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._seen[layer] = output

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of all sources, shape (B, sum of their lengths), float32.

        Raises:
            ConfigError: What a module gives cannot be pooled like that.
        """
        self._seen = {}
        self._seen[_OUTPUT] = self.network(x)
        rows = [self._rows(source) for source in self.sources]
        self._seen = {}
        self.widths = [row.shape[1] for row in rows]
        return torch.cat(rows, dim=1)

    def _rows(self, source: FeatureSource) -> Tensor:
        if source.layer not in self._seen:
            raise ConfigError(f"sources: {source.layer} has not run, so it gives no features.")
        value = self._seen[source.layer]
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ConfigError(f"sources: {source.layer} gives a {type(value).__name__}; expected features.")
        return pool_features(value.float(), source, has_class_token=self._has_class_token)


def _find(modules: Mapping[str, nn.Module], layer: str) -> nn.Module:
    """Return a module by its name, or by the end of its name where that is one module's alone."""
    if layer in modules:
        return modules[layer]
    found = [name for name in modules if name.endswith(f".{layer}")]
    if len(found) == 1:
        return modules[found[0]]
    if found:
        raise ConfigError(f"sources: {layer} may be {', '.join(found)}; write one of them.")
    raise ConfigError(f"sources: the trunk has no module {layer!r}.{did_you_mean(layer, filter(None, modules))}")


def pool_features(value: Tensor, source: FeatureSource, *, has_class_token: bool) -> Tensor:
    """Make one row a sample of maps, shape (B, C, ...), tokens, shape (B, T, C), or rows, shape (B, C).

    Args:
        value: What a module gives.
        source: How to pool, and where it is from, for messages.
        has_class_token: Whether the first of several tokens is the class token.

    Raises:
        ConfigError: It cannot be pooled like that.

    >>> source = FeatureSource("blocks.4", "average_max")
    >>> pool_features(torch.tensor([[[[1.0, 3.0]]]]), source, has_class_token=False)
    tensor([[2., 3.]])
    """
    offered: dict[str, Callable[[], Tensor]] = {}
    if value.ndim == 2:
        offered = {"average": lambda: value}
    elif value.ndim >= 3:
        places = value.flatten(2).transpose(1, 2) if value.ndim > 3 else value  # (B, T, C)
        offered = {
            "average": lambda: places.mean(dim=1),
            "average_max": lambda: torch.cat([places.mean(dim=1), places.amax(dim=1)], dim=1),
        }
        if value.ndim == 3:
            offered["tokens"] = lambda: places[:, int(has_class_token) :].mean(dim=1)
            if has_class_token:
                offered["class"] = lambda: places[:, 0]
    if source.pooling not in offered:
        raise ConfigError(
            f"sources: {source.label}: {source.layer} gives features of shape {tuple(value.shape)}, for which there "
            f"is {', '.join(offered) or 'no pooling'}."
        )
    return offered[source.pooling]()
