"""MoCo: momentum contrast.

Papers: https://arxiv.org/abs/1911.05722 (v1), https://arxiv.org/abs/2003.04297 (v2), https://arxiv.org/abs/2104.02057
(v3); videos: https://arxiv.org/abs/2104.14558 (rho-MoCo: the views are clips of a video).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import moco_loss
from eztorch.models.siamese.base import Features, Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.target_branch import TargetBranch


@final
class MoCoModel(SiameseModel):
    """Contrast with a queue: a query finds the key of its own sample among those of earlier ones (InfoNCE).

    v1 has a linear projector, v2 two layers, v2+ compares both ways (`sym`) and has a predictor.

    Args:
        temp: Temperature of the similarities.
        queue: `size` and `feature_dim` of the memory of earlier keys, the negatives; None for none.
        use_keys: The keys of the other samples of the batch, of all processes, are negatives too.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        shuffle_bn: Batch statistics of the target are those of parts of a batch: of shuffled batches of the processes
            or, on one device, of splits of the batch.
        num_devices: Number of processes that is expected; -1 takes any.
        simulate_n_devices: Number of splits on one device; divides the batch.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, or there are no negatives.
    """

    branch: TargetBranch

    def __init__(
        self,
        *,
        temp: float = 0.2,
        queue: Mapping[str, int] | None = None,
        use_keys: bool = False,
        initial_momentum: float = 0.999,
        scheduler_momentum: str = "constant",
        shuffle_bn: bool = True,
        num_devices: int = -1,
        simulate_n_devices: int = 8,
        **shared: Unpack[SiameseKeys],
    ) -> None:
        super().__init__(**shared)
        self.temp = above_zero("temp", temp)
        branch = TargetBranch(
            self.trunk,
            self.projector,
            initial_momentum=initial_momentum,
            scheduler_momentum=scheduler_momentum,
            queue=queue,
            use_keys=use_keys,
            shuffle_bn=shuffle_bn,
            num_devices=num_devices,
            simulate_n_devices=simulate_n_devices,
        )
        branch.require_negatives()
        self.use_target(branch)

    @property
    def chance_level(self) -> float | None:
        """Loss of features that tell nothing; None without a queue until the first batch, the source of negatives."""
        return self.branch.chance_level

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average InfoNCE over the pairs of views."""
        negatives = self.branch.negatives(keys)
        loss = self.mean_over_pairs(
            queries, lambda q, view: moco_loss(q, keys[view], temp=self.temp, **negatives[view])
        )
        return loss, {"temp": self.temp}
