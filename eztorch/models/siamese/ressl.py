"""ReSSL: relational self-supervised learning, https://arxiv.org/abs/2107.09282."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import ressl_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.schedules import WarmedTemperature
from eztorch.models.siamese.target_branch import TargetBranch, TargetKeys, contrastive_target


class ReSSLKeys(SiameseKeys, TargetKeys, total=False):
    """Keys of the networks and of the target."""


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
        **keys: Keys of every siamese method, see `SiameseModel`, and of a target with negatives, see `TargetBranch`;
            the momentum is 0.999 and the batches of the target are shuffled if nothing is said.

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
        **keys: Unpack[ReSSLKeys],
    ) -> None:
        super().__init__(**without(keys, TargetKeys))
        self.temp = above_zero("temp", temp)
        self._temp_m = WarmedTemperature(
            temp_m,
            start=initial_temp_m,
            epochs=warmup_epoch_temp_m,
            scheduler=warmup_scheduler_temp_m,
            start_key="initial_temp_m",
        )
        self.use_target(contrastive_target(self.trunk, self.projector, **taken(keys, TargetKeys)))

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
