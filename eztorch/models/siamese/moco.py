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
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.target_branch import TargetBranch, TargetKeys, contrastive_target


class MoCoKeys(SiameseKeys, TargetKeys, total=False):
    """Keys of the networks and of the target."""


@final
class MoCoModel(SiameseModel):
    """Contrast with a queue: a query finds the key of its own sample among those of earlier ones (InfoNCE).

    v1 has a linear projector, v2 two layers, v2+ compares both ways (`sym`) and has a predictor.

    Args:
        temp: Temperature of the similarities.
        **keys: Keys of every siamese method, see `SiameseModel`, and of a target with negatives, see `TargetBranch`;
            the momentum is 0.999 and the batches of the target are shuffled if nothing is said.

    Raises:
        ConfigError: A value is out of its range, or there are no negatives.
    """

    branch: TargetBranch

    def __init__(self, *, temp: float = 0.2, **keys: Unpack[MoCoKeys]) -> None:
        super().__init__(**without(keys, TargetKeys))
        self.temp = above_zero("temp", temp)
        self.use_target(contrastive_target(self.trunk, self.projector, **taken(keys, TargetKeys)))

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
