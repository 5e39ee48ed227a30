"""BYOL: bootstrap your own latent.

Papers: https://arxiv.org/abs/2006.07733 (images), https://arxiv.org/abs/2104.14558 (rho-BYOL: the views are clips of a
video).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import byol_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.target_branch import TargetBranch


@final
class BYOLModel(SiameseModel):
    """Predict the target's projection of another view; no negatives.

    The predictor and the moving average are what keeps it from collapsing.

    Args:
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        initial_momentum: float = 0.996,
        scheduler_momentum: str = "cosine",
        **shared: Unpack[SiameseKeys],
    ) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
            )
        )

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the distance over the pairs of views."""
        return self.mean_over_pairs(queries, lambda q, view: byol_loss(q, keys[view])), {}
