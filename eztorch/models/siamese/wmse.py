"""W-MSE, https://arxiv.org/abs/2007.06346."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import wmse_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import share
from eztorch.models.siamese.features import Features
from eztorch.modules import gather_with_gradient
from eztorch.utils.distributed import world_size
from eztorch.utils.errors import ConfigError


@final
class WMSEModel(SiameseModel):
    """Bring views together whose features were whitened over the batch; no negatives, no target.

    Args:
        whitening_size: Samples that are whitened together, more than there are features; None for the batch of all
            processes.
        eps: Share of the identity in the covariance.
        **shared: Keys of every siamese method, see `SiameseModel`; `normalize_outputs` is false by default.

    Raises:
        ConfigError: A value is out of its range, or the views are not compared both ways.
    """

    def __init__(self, *, whitening_size: int | None = None, eps: float = 0.0, **shared: Unpack[SiameseKeys]) -> None:
        shared.setdefault("sym", True)
        shared.setdefault("normalize_outputs", False)
        super().__init__(**shared)
        self.require_all_views()
        if whitening_size is not None and whitening_size < 2:
            raise ConfigError(f"whitening_size={whitening_size}; expected at least 2, or null for the whole batch.")
        self.whitening_size, self.eps = whitening_size, share("eps", eps)

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Whiten the batch of all processes, in the order of one process, and compare its views."""
        z = gather_with_gradient(torch.stack([features.z[0] for features in queries.values()], dim=1))
        z = z.unflatten(0, (world_size(), -1)).transpose(0, 1).flatten(0, 1)  # (N, V, D)
        return wmse_loss(z.transpose(0, 1), size=self.whitening_size, eps=self.eps), {}
