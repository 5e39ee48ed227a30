"""SwAV, https://arxiv.org/abs/2006.09882; for videos https://arxiv.org/abs/2104.14558 (rho-SwAV)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.losses import sinkhorn, swav_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero, not_negative
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.keys import PendingKeys, make_queue
from eztorch.modules import FeatureQueue, sum_over_processes
from eztorch.utils.distributed import rank, world_size
from eztorch.utils.errors import ConfigError


@final
class SwAVModel(SiameseModel):
    """Predict the assignment of one view to prototypes from another; the assignments use all prototypes alike.

    The predictor gives the cosines with the prototypes (`PrototypeHead`). Assignments are made of the global crops of
    all processes, and of earlier ones once a queue is in use; all other crops predict them.

    Args:
        temp: Temperature of the predictions.
        eps: Smoothness of the assignments.
        sinkhorn_iterations: Iterations that make them use all prototypes alike.
        queue: `size` and `feature_dim` of a memory of earlier projections for every global crop; None for none.
        queue_start_epoch: Epoch from which on the memory is used; it has to be full by then.
        freeze_prototypes_epochs: Epochs at the beginning in which the prototypes stay as they are.
        **shared: Keys of every siamese method, see `SiameseModel`; `normalize_outputs` must stay false.

    Raises:
        ConfigError: A value is out of its range, there is no predictor, or the views are not compared both ways.
    """

    def __init__(
        self,
        *,
        temp: float = 0.1,
        eps: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue: Mapping[str, int] | None = None,
        queue_start_epoch: int = 15,
        freeze_prototypes_epochs: int = 1,
        **shared: Unpack[SiameseKeys],
    ) -> None:
        shared.setdefault("sym", True)
        shared.setdefault("normalize_outputs", False)
        super().__init__(**shared)
        self.require_all_views()
        if self.predictor is None or self.normalize_outputs:
            raise ConfigError(
                "The predictor of SwAV gives the cosines with its prototypes: write model.predictor._target_="
                "eztorch.models.heads.PrototypeHead and model.normalize_outputs=false."
            )
        self.temp, self.eps = above_zero("temp", temp), above_zero("eps", eps)
        self.sinkhorn_iterations = sinkhorn_iterations
        self.queue_start_epoch = not_negative("queue_start_epoch", queue_start_epoch)
        self.freeze_prototypes_epochs = not_negative("freeze_prototypes_epochs", freeze_prototypes_epochs)
        projector = self.trunk if self.projector is None else self.projector
        made = [make_queue(queue, projector) for _ in self.plan.key_views]
        self.queues = nn.ModuleList(one for one in made if one is not None)
        self._pending = [PendingKeys() for _ in self.queues]

    def on_train_start(self) -> None:
        """Begin without projections of an earlier fit."""
        for pending in self._pending:
            pending.clear()

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the swapped predictions over the pairs of views."""
        assignments = {view: self._assign(view, queries[view]) for view in self.plan.key_views}
        for pending, view in zip(self._pending, self.plan.key_views, strict=False):
            pending.add([queries[view].z[0].detach()])
        loss = self.mean_over_pairs(queries, lambda q, view: swav_loss(q, assignments[view], temp=self.temp))
        return loss, {"temp": self.temp}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the prototypes as they are in the first epochs."""
        if self.current_epoch < self.freeze_prototypes_epochs and self.predictor is not None:
            for parameter in self.predictor.parameters():
                parameter.grad = None

    def after_optimizer_step(self, step: int) -> None:
        """Put the projections of the step into the queues."""
        for queue, pending in zip(self.queues, self._pending, strict=True):
            assert isinstance(queue, FeatureQueue)
            queue.enqueue(pending.take())

    @torch.no_grad()
    def _assign(self, view: int, features: Features) -> Tensor:
        scores = features.q[0].detach()
        batch = len(scores)
        if len(self.queues) and self.current_epoch >= self.queue_start_epoch and self.predictor is not None:
            queue = self.queues[self.plan.key_views.index(view)]
            assert isinstance(queue, FeatureQueue)
            # Every process takes its part of the memory, which is the same on all: so each row counts once.
            earlier = self.predictor(queue.features[rank() :: world_size()])
            scores = torch.cat([scores, earlier.to(scores.dtype)])
        assigned = sinkhorn(scores, eps=self.eps, iterations=self.sinkhorn_iterations, everywhere=sum_over_processes)
        return assigned[:batch]
