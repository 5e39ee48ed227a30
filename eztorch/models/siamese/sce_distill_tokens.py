"""Distillation of the tokens of a frozen teacher with SCE, the second step of COMEDIAN.

Paper: https://arxiv.org/abs/2309.01270.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero, share
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.keys import PendingKeys, check_feature_dim, make_queue
from eztorch.models.siamese.teacher import Teacher
from eztorch.models.siamese.token_comparison import TokenComparison, TokenKeys
from eztorch.modules import gather_without_gradient
from eztorch.utils.config import build
from eztorch.utils.distributed import rank, world_size
from eztorch.utils.errors import DataError


class SCEDistillTokensKeys(SiameseKeys, TokenKeys, total=False):
    """Keys of the networks and of the comparison."""


@final
class SCEDistillTokensModel(SiameseModel):
    """Every token learns the teacher's token at the same time, and how that one sees all others.

    What the teacher says comes from a network (`teacher`), which sees the views that the trunk sees, or with the data:
    `batch["features"]`, shape (B, T, D), T tokens in the order of time for each sample, the same for all its views.
    Nothing is compared between views, so one is enough.

    Args:
        teacher: Module or spec, from an input to tokens, shape (B, T, D); it is frozen. None takes those of the batch.
        teacher_weights: Checkpoint with its weights; None leaves it as it was built.
        teacher_prefix: What the names of these weights begin with in the checkpoint.
        queue: `size` in tokens and `feature_dim` of the memory of the teacher's earlier tokens; None for none.
        temp_m: Temperature of the teacher's relations.
        coeff: Share of the positives in the target, from 0 to 1.
        **keys: Keys of every siamese method, see `SiameseModel`, where `num_global_crops` is 1 if nothing is said, and
            those of `TokenComparison`.

    Attributes:
        chance_level: Loss of features that tell nothing; None until the first batch.

    Raises:
        ConfigError: A value is out of its range, a token has no positives or no negatives, or the weights do not fit.
    """

    views_with_themselves: ClassVar[bool] = True

    def __init__(
        self,
        *,
        teacher: Any = None,
        teacher_weights: str | None = None,
        teacher_prefix: str = "trunk.",
        queue: Mapping[str, int] | None = None,
        temp_m: float = 0.05,
        coeff: float = 0.5,
        **keys: Unpack[SCEDistillTokensKeys],
    ) -> None:
        keys.setdefault("num_global_crops", 1)
        super().__init__(**without(keys, TokenKeys))
        network: nn.Module | None = build(teacher)
        self.teacher = None if network is None else Teacher(network, teacher_weights, teacher_prefix)
        self.queue = make_queue(queue, nn.Identity() if network is None else network)
        self.temp_m, self.coeff = above_zero("temp_m", temp_m), share("coeff", coeff)
        queue_size = 0 if self.queue is None else self.queue.size
        self.comparison = TokenComparison(queue_size=queue_size, **taken(keys, TokenKeys))
        self.chance_level: float | None = None
        self._pending = PendingKeys()

    def on_train_start(self) -> None:
        """Begin without tokens of an earlier fit."""
        self._pending.clear()

    def encode_keys(self, views: Sequence[Tensor]) -> dict[int, Tensor]:
        """Encode the views with the teacher, if there is one.

        Args:
            views: All views of the batch, each of shape (B, ...).

        Returns:
            Tokens by index of the view, each of shape (B, T, D); empty where the batch has them.
        """
        if self.teacher is None:
            return {}
        return {view: self.normalized(self.teacher(views[view])) for view in self.plan.key_views}

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the loss of the tokens over the views; the teacher's tokens wait to enter the queue."""
        keys = keys or dict.fromkeys(self.plan.key_views, self._given(batch))
        self.comparison.check(queries, keys)
        if self.queue is not None:
            check_feature_dim(self.queue, keys[0].shape[2])
            self._pending.add(list(keys.values()) if self.teacher is not None else [keys[0]])
        samples, tokens = keys[0].shape[:2]
        self.chance_level = self.comparison.chance_level(tokens, samples * world_size())
        negatives = {view: self._negatives(key) for view, key in keys.items()}
        values = {"temp_m": self.temp_m, "coeff": self.coeff}
        compare = self.comparison.loss
        loss = self.mean_over_pairs(
            queries, lambda q, view: compare(q, keys[view], negatives=negatives[view], **values)
        )
        return loss, {"temp": self.comparison.temp, **values}

    def after_optimizer_step(self, step: int) -> None:
        """Put the teacher's tokens of the step into the queue."""
        if self.queue is not None:
            self.queue.enqueue(self._pending.take())

    def _given(self, batch: Mapping[str, Any]) -> Tensor:
        features = batch.get("features")
        if not isinstance(features, Tensor) or features.ndim != 3:
            found = f"of shape {tuple(features.shape)}" if isinstance(features, Tensor) else "not there"
            raise DataError(
                f"The features of the batch are {found}; a distillation without model.teacher needs them from the "
                "samples, tokens of shape (T, D) under 'features'. To compute them, write model.teacher."
            )
        return self.normalized(features)

    def _negatives(self, key: Tensor) -> dict[str, Any]:
        negatives: dict[str, Any] = {"queue": None if self.queue is None else self.queue.features}
        if self.comparison.use_all_keys:
            negatives |= {"keys": gather_without_gradient(key), "keys_offset": rank() * len(key)}
        return negatives
