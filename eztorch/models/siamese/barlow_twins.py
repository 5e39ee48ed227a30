"""Barlow Twins, https://arxiv.org/abs/2103.03230."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import barlow_twins_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import not_negative
from eztorch.models.siamese.features import Features
from eztorch.modules import gather_with_gradient


@final
class BarlowTwinsModel(SiameseModel):
    """Make the cross-correlation of the features of two views the identity; no negatives, no target.

    Args:
        lambd: Weight of the redundancy between features.
        scale: Factor of the loss, 0.024 in the paper's code with LARS.
        **shared: Keys of every siamese method, see `SiameseModel`; `normalize_outputs` is false by default.

    Raises:
        ConfigError: A value is out of its range, or the views are not compared both ways.
    """

    def __init__(self, *, lambd: float = 0.0051, scale: float = 1.0, **shared: Unpack[SiameseKeys]) -> None:
        shared.setdefault("sym", True)
        shared.setdefault("normalize_outputs", False)
        super().__init__(**shared)
        self.require_all_views()
        self.lambd, self.scale = not_negative("lambd", lambd), scale

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the loss over the pairs of views, over the batch of all processes."""
        z = {view: gather_with_gradient(features.z[0]) for view, features in queries.items()}
        pairs = [(a, b) for a, b in self.plan.pairs if a < b]
        losses = [barlow_twins_loss(z[a], z[b], lambd=self.lambd) for a, b in pairs]
        return self.scale * torch.stack(losses).mean(), {}
