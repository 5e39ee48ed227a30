"""SCE on tokens: every token of a clip finds the token at the same time of another view of it.

Papers: https://arxiv.org/abs/2111.14585 (SCE), https://arxiv.org/abs/2309.01270 (COMEDIAN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.schedules import SCEScheduleKeys, SCESchedules
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.models.siamese.token_comparison import TokenComparison, TokenKeys
from eztorch.utils.distributed import world_size


class SCETokensKeys(SiameseKeys, TokenKeys, SCEScheduleKeys, total=False):
    """Keys of the networks, of the comparison and of the schedules."""


@final
class SCETokensModel(SiameseModel):
    """Contrast and relations between tokens, which a trunk gives as (B, T, C).

    The views of a sample must show the same times, such as several crops of one clip: token t of one view is compared
    with token t of the other. Features of samples that a step returns are the means over their tokens.

    Args:
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        queue: `size` in tokens and `feature_dim` of the memory of earlier keys, which are negatives; None for none.
        **keys: Keys of every siamese method, see `SiameseModel`, and those of `TokenComparison` and `SCESchedules`.

    Attributes:
        chance_level: Loss of features that tell nothing; None until the first batch.

    Raises:
        ConfigError: A value is out of its range, a name is not known, or a token has no positives or no negatives.
    """

    branch: TargetBranch

    def __init__(
        self,
        *,
        initial_momentum: float = 0.999,
        scheduler_momentum: str = "constant",
        queue: Mapping[str, int] | None = None,
        **keys: Unpack[SCETokensKeys],
    ) -> None:
        super().__init__(**without(keys, TokenKeys, SCEScheduleKeys))
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
                queue=queue,
                use_keys=keys.get("use_all_keys", False),
            )
        )
        queue_size = 0 if self.branch.queue is None else self.branch.queue.size
        self.comparison = TokenComparison(queue_size=queue_size, **taken(keys, TokenKeys))
        self.schedules = SCESchedules(**taken(keys, SCEScheduleKeys))
        self.chance_level: float | None = None

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the loss of the tokens over the pairs of views."""
        self.comparison.check(queries, keys)
        samples, tokens = keys[0].shape[:2]
        self.chance_level = self.comparison.chance_level(tokens, samples * world_size())
        at = {"steps_per_epoch": self.steps_per_epoch, "total_steps": self.total_steps}
        values = {
            "temp_m": self.schedules.temp_m_at(self.global_step, **at),
            "coeff": self.schedules.coeff_at(self.global_step, **at),
        }
        negatives, compare = self.branch.negatives(keys), self.comparison.loss
        loss = self.mean_over_pairs(
            queries, lambda q, view: compare(q, keys[view], negatives=negatives[view], **values)
        )
        return loss, {"temp": self.comparison.temp, **values}
