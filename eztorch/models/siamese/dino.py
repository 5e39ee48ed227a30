"""DINO, https://arxiv.org/abs/2104.14294."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import dino_loss
from eztorch.models.siamese.base import Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import output_dim
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.key_groups import taken, without
from eztorch.models.siamese.self_distillation import (
    SelfDistillation,
    SelfDistillationKeys,
    TeacherOutputs,
    keep_branches,
)
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.utils.errors import ConfigError


class DINOKeys(SiameseKeys, SelfDistillationKeys, total=False):
    """Keys of the networks and of what is learned of the teacher."""


@final
class DINOModel(SiameseModel):
    """Self-distillation: the student's crops learn the centred and sharpened distribution of the teacher's global ones.

    The projector gives the scores that the distributions are made of (`DINOHead`); there is no predictor.

    Args:
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        **keys: Keys of every siamese method, see `SiameseModel`, and those of `SelfDistillation`; `normalize_outputs`
            must stay false.

    Attributes:
        centre: What the teacher gives on average, shape (K,).

    Raises:
        ConfigError: A value is out of its range, or the projector does not tell its `output_dim`.
    """

    branch: TargetBranch
    centre: Tensor

    def __init__(
        self,
        *,
        initial_momentum: float = 0.996,
        scheduler_momentum: str = "cosine",
        **keys: Unpack[DINOKeys],
    ) -> None:
        keys.setdefault("sym", True)
        keys.setdefault("normalize_outputs", False)
        super().__init__(**without(keys, SelfDistillationKeys))
        scores = None if self.projector is None else output_dim(self.projector)
        if scores is None or self.predictor is not None or self.normalize_outputs:
            raise ConfigError(
                "The projector of DINO gives the scores: write model.projector._target_=eztorch.models.heads.DINOHead, "
                "model.predictor=null and model.normalize_outputs=false."
            )
        self.distillation = SelfDistillation(**taken(keys, SelfDistillationKeys))
        self.register_buffer("centre", torch.zeros(scores))
        self._outputs = TeacherOutputs()
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
            )
        )
        keep_branches(self.target)

    def on_train_start(self) -> None:
        """Begin without outputs of an earlier fit."""
        super().on_train_start()
        self._outputs.clear()

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the cross-entropy over the pairs of a teacher's and a student's view."""
        temp_m = self.temp_m_at(self.global_step)
        self._outputs.add(torch.cat(list(keys.values())))
        temp = self.distillation.temp
        compare = partial(dino_loss, temp=temp, temp_m=temp_m, centre=self.centre.clone())
        return self.mean_over_pairs(queries, lambda q, view: compare(q, keys[view])), {"temp": temp, "temp_m": temp_m}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the prototypes as they are in the first epochs."""
        self.distillation.keep_prototypes(self.projector, self.current_epoch)

    def after_optimizer_step(self, step: int) -> None:
        """Move the teacher, and the centre towards the mean of its outputs on all processes (eq. 4)."""
        super().after_optimizer_step(step)
        self._outputs.move(self.centre, self.distillation.centre_momentum)

    def temp_m_at(self, step: int) -> float:
        """Return the temperature of the teacher at an optimizer step."""
        return self.distillation.temp_m_at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)
