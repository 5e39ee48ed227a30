"""Which layer of a network a parameter belongs to, for layer-wise learning rates."""

from __future__ import annotations

import re
from collections.abc import Iterable


def layer_ids(names: Iterable[str], unit: str | re.Pattern[str]) -> dict[str, int]:
    r"""Number the layers of parameters in their order: a parameter of no unit belongs to the layer that was reached.

    Args:
        names: Names of the parameters of a network, in its order.
        unit: Regular expression of what the names of one layer begin with.

    >>> layer_ids(["conv_proj.bias", "blocks.0.norm.bias", "blocks.1.norm.bias", "norm.bias"], r"blocks\.\d+")
    {'conv_proj.bias': 0, 'blocks.0.norm.bias': 1, 'blocks.1.norm.bias': 2, 'norm.bias': 2}
    """
    ids: dict[str, int] = {}
    layer, reached = -1, ""
    for name in names:
        found = re.match(unit, name)
        here = found.group() if found else reached
        if layer < 0 or here != reached:
            layer, reached = layer + 1, here
        ids[name] = layer
    return ids
