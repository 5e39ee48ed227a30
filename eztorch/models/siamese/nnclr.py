"""NNCLR, https://arxiv.org/abs/2104.14548."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import nearest_neighbours, nnclr_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.keys import PendingKeys, check_feature_dim, make_queue
from eztorch.modules import FeatureQueue, gather_with_gradient
from eztorch.utils.distributed import rank
from eztorch.utils.errors import ConfigError


@final
class NNCLRModel(SiameseModel):
    """Contrast with neighbours: the nearest earlier sample of one view finds the prediction of the other.

    Args:
        temp: Temperature of the similarities.
        queue: `size` and `feature_dim` of the memory of earlier projections, the support set.
        **shared: Keys of every siamese method, see `SiameseModel`.

    Raises:
        ConfigError: A value is out of its range, there is no queue, or the views are not compared both ways.
    """

    def __init__(
        self, *, temp: float = 0.1, queue: Mapping[str, int] | None = None, **shared: Unpack[SiameseKeys]
    ) -> None:
        shared.setdefault("sym", True)
        super().__init__(**shared)
        self.require_all_views()
        self.temp = above_zero("temp", temp)
        made = make_queue(queue, self.trunk if self.projector is None else self.projector)
        if made is None:
            raise ConfigError("NNCLR finds neighbours in a queue; write model.queue.size and model.queue.feature_dim.")
        self.queue: FeatureQueue = made
        self._pending = PendingKeys()

    def on_train_start(self) -> None:
        """Begin without projections of an earlier fit."""
        self._pending.clear()

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the loss over the pairs of views; the projections of view 0 wait to enter the queue."""
        z = {view: features.z[0].detach() for view, features in queries.items()}
        check_feature_dim(self.queue, z[0].shape[1])
        neighbours = {view: nearest_neighbours(z[view], self.queue.features) for view in self.plan.key_views}
        predictions = {view: gather_with_gradient(features.q[0]) for view, features in queries.items()}
        self._pending.add([z[0]])

        losses = [
            nnclr_loss(
                neighbours[a], queries[b].q[0], temp=self.temp, everyone=predictions[b], offset=rank() * len(z[b])
            )
            for a, b in self.plan.pairs
        ]
        return sum(losses[1:], losses[0]) / len(losses), {"temp": self.temp}

    def after_optimizer_step(self, step: int) -> None:
        """Put the projections of the step into the queue."""
        self.queue.enqueue(self._pending.take())
