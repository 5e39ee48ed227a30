"""SupCon: supervised contrastive learning, https://arxiv.org/abs/2004.11362."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import supcon_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.modules import gather_with_gradient, gather_without_gradient
from eztorch.utils.distributed import rank


@final
class SupConModel(SiameseModel):
    """Contrast by label, inside the batch of all processes: all views of a class are each other's positives.

    Args:
        temp: Temperature of the similarities.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, or the views are not compared both ways.
    """

    def __init__(self, *, temp: float = 0.1, **shared: Unpack[SiameseKeys]) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        self.require_all_views()
        self.temp = above_zero("temp", temp)

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Contrast all views of the batch by their labels."""
        z = torch.stack([features.z[0] for features in queries.values()])  # (V, B, D)
        loss = supcon_loss(
            z,
            batch["label"],
            temp=self.temp,
            everyone=gather_with_gradient(z.transpose(0, 1)).transpose(0, 1),
            all_labels=gather_without_gradient(batch["label"]),
            offset=rank() * z.shape[1],
        )
        return loss, {"temp": self.temp}
