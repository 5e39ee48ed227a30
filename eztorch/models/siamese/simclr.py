"""SimCLR and its decoupled forms.

Papers: https://arxiv.org/abs/2002.05709 (SimCLR), https://arxiv.org/abs/2110.06848 (DCL, DCLW),
https://arxiv.org/abs/2104.14558 (rho-SimCLR: the views are clips of a video).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import dcl_loss, simclr_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.modules import gather_with_gradient
from eztorch.utils.distributed import rank
from eztorch.utils.errors import ConfigError


@final
class SimCLRModel(SiameseModel):
    """Contrast inside the batch, of all processes: a view finds the other views of its sample.

    Args:
        temp: Temperature of the similarities.
        decoupled: Leave the positive out of what it is compared with (DCL).
        sigma: Width of the weights of the positives (DCLW); None for none, as in DCL. Needs `decoupled`.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, or the views are not compared both ways.
    """

    def __init__(
        self, *, temp: float = 0.1, decoupled: bool = False, sigma: float | None = None, **shared: Unpack[SiameseKeys]
    ) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        self.require_all_views()
        self.temp = above_zero("temp", temp)
        self.decoupled, self.sigma = decoupled, sigma
        if sigma is not None:
            above_zero("sigma", sigma)
            if not decoupled:
                raise ConfigError(f"sigma={sigma} weighs the positives of the decoupled loss; write decoupled=true.")

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Contrast all views of the batch."""
        z = torch.stack([features.z[0] for features in queries.values()])  # (V, B, D)
        everyone = gather_with_gradient(z.transpose(0, 1)).transpose(0, 1)
        offset = rank() * z.shape[1]
        if self.decoupled:
            loss = dcl_loss(z, temp=self.temp, sigma=self.sigma, everyone=everyone, offset=offset)
        else:
            loss = simclr_loss(z, temp=self.temp, everyone=everyone, offset=offset)
        return loss, {"temp": self.temp}
