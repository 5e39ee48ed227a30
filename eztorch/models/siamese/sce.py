"""SCE: similarity contrastive estimation.

Papers: https://arxiv.org/abs/2111.14585 (images), https://arxiv.org/abs/2212.11187 (videos).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import sce_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.schedules import SCEScheduleKeys, SCESchedules
from eztorch.models.siamese.target_branch import TargetBranch, TargetKeys, contrastive_target


class SCEKeys(SiameseKeys, TargetKeys, SCEScheduleKeys, total=False):
    """Keys of the networks, of the target and of the schedules."""


@final
class SCEModel(SiameseModel):
    """Contrast and relations: queries learn which sample is theirs and how the target sees the others.

    Per pair of views, with a target network that follows the online one by a moving average, the online similarities
    of a query learn the target's relations of its positive to the negatives, mixed with the positive itself
    (`eztorch.losses.sce_loss`). Momentum, target temperature and coefficient are functions of the optimizer step.

    Args:
        temp: Temperature of the online similarities.
        **keys: Keys of every siamese method, see `SiameseModel`; of a target with negatives, see `TargetBranch`, whose
            momentum is 0.999 and whose batches are shuffled if nothing is said; and those of `SCESchedules`.

    Raises:
        ConfigError: A value is out of its range, a name is not known, or there are no negatives.
    """

    branch: TargetBranch

    def __init__(self, *, temp: float = 0.1, **keys: Unpack[SCEKeys]) -> None:
        super().__init__(**without(keys, TargetKeys, SCEScheduleKeys))
        self.use_target(contrastive_target(self.trunk, self.projector, **taken(keys, TargetKeys)))
        self.temp = above_zero("temp", temp)
        self.schedules = SCESchedules(**taken(keys, SCEScheduleKeys))

    @property
    def chance_level(self) -> float | None:
        """Loss of features that tell nothing; None without a queue until the first batch, the source of negatives."""
        return self.branch.chance_level

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the SCE loss over the pairs of views."""
        temp_m, coeff = self.temp_m_at(self.global_step), self.coeff_at(self.global_step)
        negatives = self.branch.negatives(keys)
        compare = partial(sce_loss, temp=self.temp, temp_m=temp_m, coeff=coeff)
        loss = self.mean_over_pairs(queries, lambda q, view: compare(q, keys[view], **negatives[view]))
        return loss, {"temp": self.temp, "temp_m": temp_m, "coeff": coeff}

    def temp_m_at(self, step: int) -> float:
        """Return the temperature of the target's relations at an optimizer step."""
        return self.schedules.temp_m_at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)

    def coeff_at(self, step: int) -> float:
        """Return the share of the positive in the target at an optimizer step."""
        return self.schedules.coeff_at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)
