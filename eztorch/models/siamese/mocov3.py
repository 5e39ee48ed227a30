"""MoCo v3, https://arxiv.org/abs/2104.02057."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import moco_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.target_branch import TargetBranch


@final
class MoCov3Model(SiameseModel):
    """Contrast without a queue: a query finds its own sample's key among those of the batch, of all processes.

    Both ways unless `sym: false`, with a predictor; the loss is InfoNCE times twice the temperature (algorithm 1).

    Args:
        temp: Temperature of the similarities.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range.
    """

    branch: TargetBranch

    def __init__(
        self,
        *,
        temp: float = 1.0,
        initial_momentum: float = 0.99,
        scheduler_momentum: str = "cosine",
        **shared: Unpack[SiameseKeys],
    ) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        self.temp = above_zero("temp", temp)
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
                use_keys=True,
            )
        )

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average InfoNCE over the pairs of views."""
        negatives = self.branch.negatives(keys)
        loss = self.mean_over_pairs(
            queries, lambda q, view: moco_loss(q, keys[view], temp=self.temp, **negatives[view])
        )
        return 2 * self.temp * loss, {"temp": self.temp}
