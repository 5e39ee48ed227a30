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
from eztorch.models.siamese.base import Features, Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.schedules import SCESchedules
from eztorch.models.siamese.target_branch import TargetBranch


@final
class SCEModel(SiameseModel):
    """Contrast and relations: queries learn which sample is theirs and how the target sees the others.

    Per pair of views, with a target network that follows the online one by a moving average, the online similarities
    of a query learn the target's relations of its positive to the negatives, mixed with the positive itself
    (`eztorch.losses.sce_loss`). Momentum, target temperature and coefficient are functions of the optimizer step.

    Args:
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        shuffle_bn: Batch statistics of the target are those of parts of a batch: of shuffled batches of the processes
            or, on one device, of splits of the batch.
        num_devices: Number of processes that is expected; -1 takes any.
        simulate_n_devices: Number of splits on one device; divides the batch.
        queue: `size` and `feature_dim` of the memory of earlier keys, which are negatives; None for none.
        use_keys: The keys of the other samples of the batch, of all processes, are negatives too.
        temp: Temperature of the online similarities.
        temp_m: Temperature of the target's relations after its warm-up.
        start_warmup_temp_m: The same at step 0 of the warm-up.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        warmup_scheduler_temp_m: Its form: `constant`, `linear` or `cosine`.
        coeff: Share of the positive in the target after its warm-up, from 0 to 1.
        start_warmup_coeff: The same at step 0 of the warm-up.
        warmup_epoch_coeff: Length of that warm-up in epochs.
        warmup_scheduler_coeff: Its form: `constant`, `linear` or `cosine`.
        scheduler_coeff: Form of the way from `coeff` to `final_scheduler_coeff`, reached at the last step; None stays.
        final_scheduler_coeff: See `scheduler_coeff`.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, a name is not known, or there are no negatives.
    """

    branch: TargetBranch

    def __init__(
        self,
        *,
        initial_momentum: float = 0.999,
        scheduler_momentum: str = "constant",
        shuffle_bn: bool = True,
        num_devices: int = -1,
        simulate_n_devices: int = 8,
        queue: Mapping[str, int] | None = None,
        use_keys: bool = False,
        temp: float = 0.1,
        temp_m: float = 0.05,
        start_warmup_temp_m: float = 0.05,
        warmup_epoch_temp_m: float = 0,
        warmup_scheduler_temp_m: str = "cosine",
        coeff: float = 0.5,
        start_warmup_coeff: float = 1.0,
        warmup_epoch_coeff: float = 0,
        warmup_scheduler_coeff: str = "linear",
        scheduler_coeff: str | None = None,
        final_scheduler_coeff: float = 0.0,
        **shared: Unpack[SiameseKeys],
    ) -> None:
        super().__init__(**shared)
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
        self.temp = above_zero("temp", temp)
        self.schedules = SCESchedules(
            temp_m=temp_m,
            start_warmup_temp_m=start_warmup_temp_m,
            warmup_epoch_temp_m=warmup_epoch_temp_m,
            warmup_scheduler_temp_m=warmup_scheduler_temp_m,
            coeff=coeff,
            start_warmup_coeff=start_warmup_coeff,
            warmup_epoch_coeff=warmup_epoch_coeff,
            warmup_scheduler_coeff=warmup_scheduler_coeff,
            scheduler_coeff=scheduler_coeff,
            final_scheduler_coeff=final_scheduler_coeff,
        )

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
