"""How learning rates follow the batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_FACTORS: Mapping[str, Callable[[int], float]] = {
    "none": lambda batch_size: 1.0,
    "linear": lambda batch_size: batch_size / 256,
    "sqrt": math.sqrt,
    "sqrt_256": lambda batch_size: math.sqrt(batch_size / 256),
}


def scale_lr(lr: float, scaler: str | None = None, batch_size: int | None = None, multiply_lr: float = 1.0) -> float:
    """Scale a learning rate by the rule of a recipe.

    Args:
        lr: Rate as the recipe states it.
        scaler: `none` or None: `lr`; `linear`: `lr * batch_size / 256` (arXiv 1706.02677); `sqrt`:
            `lr * sqrt(batch_size)`, without a reference batch, so such a recipe states the rate of a batch of one;
            `sqrt_256`: `lr * sqrt(batch_size / 256)`, for a recipe that states the rate of a batch of 256.
        batch_size: Global batch size.
        multiply_lr: A further factor.

    Raises:
        ConfigError: The scaler is not known, or it needs a batch size and there is none.

    >>> scale_lr(2.4, "linear", 512)
    4.8
    """
    name = scaler or "none"
    factor = choose(_FACTORS, name, "scaler")
    if name != "none" and (batch_size is None or batch_size < 1):
        raise ConfigError(f"scaler={name!r} needs batch_size, the global batch size; got {batch_size}.")
    return lr * factor(batch_size or 1) * multiply_lr
