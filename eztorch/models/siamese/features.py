"""Features of a batch, and what a step returns of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Features of a batch; of a trunk that gives T tokens a sample, shapes (B, T, C) and (B, T, D).

    Attributes:
        h: Output of the trunk, shape (B, C).
        z: Projection, shape (B, D); h without a projector.
        q: Prediction, shape (B, D); z without a predictor.
    """

    h: Tensor
    z: Tensor
    q: Tensor


def of_training(features: Features) -> dict[str, Tensor]:
    """Return what a training step tells of a query view: detached, its combinations of patches averaged.

    Args:
        features: Of M combinations, shapes (M, B, C) and (M, B, D).
    """
    rows = {name: x.detach() for name, x in features._asdict().items()}
    return of_samples({name: x.mean(dim=0) if len(x) > 1 else x[0] for name, x in rows.items()})


def of_samples(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return features of samples, shape (B, D); those of tokens, shape (B, T, D), are averaged."""
    return {name: x if x.ndim == 2 else x.flatten(1, -2).mean(dim=1) for name, x in features.items()}
