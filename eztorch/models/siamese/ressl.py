"""ReSSL: relational self-supervised learning, https://arxiv.org/abs/2107.09282."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import ressl_loss
from eztorch.models.siamese.base import Features, Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.schedules import WarmedTemperature
from eztorch.models.siamese.target_branch import TargetBranch


@final
class ReSSLModel(SiameseModel):
    """Relations alone: a query learns how the target sees its sample among earlier ones.

    View 0 is the target's and is augmented weakly in the paper.

    Args:
        temp: Temperature of the online relations.
        temp_m: Temperature of the target's relations after its warm-up.
        initial_temp_m: The same at step 0 of the warm-up.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        warmup_scheduler_temp_m: Its form: `constant`, `linear` or `cosine`.
        queue: `size` and `feature_dim` of the memory of earlier keys; None for none.
        use_keys: The other samples of the batch, of all processes, are compared too.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        shuffle_bn: Batch statistics of the target are those of parts of a batch: of shuffled batches of the processes
            or, on one device, of splits of the batch.
        num_devices: Number of processes that is expected; -1 takes any.
        simulate_n_devices: Number of splits on one device; divides the batch.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, or there is nothing to compare with.
    """

    branch: TargetBranch

    def __init__(
        self,
        *,
        temp: float = 0.1,
        temp_m: float = 0.04,
        initial_temp_m: float = 0.04,
        warmup_epoch_temp_m: float = 0,
        warmup_scheduler_temp_m: str = "cosine",
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
        self._temp_m = WarmedTemperature(
            temp_m,
            start=initial_temp_m,
            epochs=warmup_epoch_temp_m,
            scheduler=warmup_scheduler_temp_m,
            start_key="initial_temp_m",
        )
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

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the relational cross-entropy over the pairs of views."""
        temp_m, negatives = self.temp_m_at(self.global_step), self.branch.negatives(keys)
        compare = partial(ressl_loss, temp=self.temp, temp_m=temp_m)
        loss = self.mean_over_pairs(queries, lambda q, view: compare(q, keys[view], **negatives[view]))
        return loss, {"temp": self.temp, "temp_m": temp_m}

    def temp_m_at(self, step: int) -> float:
        """Return the temperature of the target's relations at an optimizer step."""
        return self._temp_m.at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)
