"""SCE on tokens: every token of a clip finds the token at the same time of another view of it.

Papers: https://arxiv.org/abs/2111.14585 (SCE), https://arxiv.org/abs/2309.01270 (COMEDIAN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.models.siamese.base import Features, Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.schedules import SCESchedules
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.models.siamese.token_comparison import TokenComparison
from eztorch.utils.distributed import world_size


@final
class SCETokensModel(SiameseModel):
    """Contrast and relations between tokens, which a trunk gives as (B, T, C).

    The views of a sample must show the same times, such as several crops of one clip: token t of one view is compared
    with token t of the other. Features of samples that a step returns are the means over their tokens.

    Args:
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        queue: `size` in tokens and `feature_dim` of the memory of earlier keys, which are negatives; None for none.
        use_keys: The other tokens of the own key are negatives.
        use_all_keys: So are all tokens of the batch, of all processes; `use_keys` must then be false.
        num_out_tokens: Tokens that a sample has, checked; None for any number.
        positive_radius: Steps in time up to which a token of the own key is a positive.
        keep_aligned_positive: The token at the same time is a positive; False needs a radius.
        normalize_positive_coeff: Give tokens with fewer positives, at the ends, a smaller share of them in the target.
        temp: Temperature of the online similarities.
        temp_m: Temperature of the target's relations after its warm-up.
        start_warmup_temp_m: The same at step 0 of the warm-up.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        warmup_scheduler_temp_m: Its form: `constant`, `linear` or `cosine`.
        coeff: Share of the positives in the target after its warm-up, from 0 to 1.
        start_warmup_coeff: The same at step 0 of the warm-up.
        warmup_epoch_coeff: Length of that warm-up in epochs.
        warmup_scheduler_coeff: Its form: `constant`, `linear` or `cosine`.
        scheduler_coeff: Form of the way from `coeff` to `final_scheduler_coeff`, reached at the last step; None stays.
        final_scheduler_coeff: See `scheduler_coeff`.
        **shared: Keys of every siamese method, see `SiameseModel`.

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
        use_keys: bool = True,
        use_all_keys: bool = False,
        num_out_tokens: int | None = None,
        positive_radius: int = 0,
        keep_aligned_positive: bool = True,
        normalize_positive_coeff: bool = False,
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
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
                queue=queue,
                use_keys=use_all_keys,
            )
        )
        self.comparison = TokenComparison(
            temp=temp,
            positive_radius=positive_radius,
            keep_aligned_positive=keep_aligned_positive,
            normalize_positive_coeff=normalize_positive_coeff,
            use_keys=use_keys,
            use_all_keys=use_all_keys,
            num_out_tokens=num_out_tokens,
            queue_size=0 if self.branch.queue is None else self.branch.queue.size,
        )
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
