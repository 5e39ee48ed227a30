"""DINO, https://arxiv.org/abs/2104.14294."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Unpack

from eztorch.losses import dino_loss
from eztorch.models.siamese.base import Features, Scalars, SiameseKeys, SiameseModel
from eztorch.models.siamese.checks import above_zero, not_negative, output_dim, share
from eztorch.models.siamese.schedules import WarmedTemperature
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.modules import sum_over_processes
from eztorch.utils.distributed import world_size
from eztorch.utils.errors import ConfigError


@final
class DINOModel(SiameseModel):
    """Self-distillation: the student's crops learn the centred and sharpened distribution of the teacher's global ones.

    The projector gives the scores that the distributions are made of (`DINOHead`); there is no predictor.

    Args:
        temp: Temperature of the student.
        temp_m: Temperature of the teacher after its warm-up.
        start_warmup_temp_m: The same at step 0 of the warm-up, which is linear.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        centre_momentum: Share of the centre that stays at an optimizer step.
        freeze_last_layer_epochs: Epochs at the beginning in which the prototypes stay as they are.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        **shared: Keys of every siamese method, see `SiameseModel`; `normalize_outputs` must stay false.

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
        temp: float = 0.1,
        temp_m: float = 0.04,
        start_warmup_temp_m: float = 0.04,
        warmup_epoch_temp_m: float = 0,
        centre_momentum: float = 0.9,
        freeze_last_layer_epochs: int = 1,
        initial_momentum: float = 0.996,
        scheduler_momentum: str = "cosine",
        **shared: Unpack[SiameseKeys],
    ) -> None:
        shared.setdefault("sym", True)
        shared.setdefault("normalize_outputs", False)
        super().__init__(**shared)
        scores = None if self.projector is None else output_dim(self.projector)
        if scores is None or self.predictor is not None or self.normalize_outputs:
            raise ConfigError(
                "The projector of DINO gives the scores: write model.projector._target_=eztorch.models.heads.DINOHead, "
                "model.predictor=null and model.normalize_outputs=false."
            )
        self.temp = above_zero("temp", temp)
        self._temp_m = WarmedTemperature(
            temp_m, start=start_warmup_temp_m, epochs=warmup_epoch_temp_m, scheduler="linear"
        )
        self.centre_momentum = share("centre_momentum", centre_momentum)
        self.freeze_last_layer_epochs = not_negative("freeze_last_layer_epochs", freeze_last_layer_epochs)
        self.register_buffer("centre", torch.zeros(scores))
        self._outputs: list[Tensor] = []  # sum and number of the teacher's outputs since the last optimizer step
        self.use_target(
            TargetBranch(
                self.trunk,
                self.projector,
                initial_momentum=initial_momentum,
                scheduler_momentum=scheduler_momentum,
            )
        )

    def on_train_start(self) -> None:
        """Begin without outputs of an earlier fit."""
        super().on_train_start()
        self._outputs.clear()

    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Average the cross-entropy over the pairs of a teacher's and a student's view."""
        temp_m = self.temp_m_at(self.global_step)
        self._outputs.append(torch.cat([key.float() for key in keys.values()]))
        compare = partial(dino_loss, temp=self.temp, temp_m=temp_m, centre=self.centre.clone())
        return self.mean_over_pairs(queries, lambda q, view: compare(q, keys[view])), {
            "temp": self.temp,
            "temp_m": temp_m,
        }

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave the prototypes as they are in the first epochs."""
        prototypes = getattr(self.projector, "prototypes", None)
        if prototypes is not None and self.current_epoch < self.freeze_last_layer_epochs:
            for parameter in prototypes.parameters():
                parameter.grad = None

    def after_optimizer_step(self, step: int) -> None:
        """Move the teacher, and the centre towards the mean of its outputs on all processes (eq. 4)."""
        super().after_optimizer_step(step)
        outputs = torch.cat(self._outputs)
        self._outputs.clear()
        mean = sum_over_processes(outputs.sum(dim=0)) / (len(outputs) * world_size())
        self.centre.lerp_(mean, 1 - self.centre_momentum)

    def temp_m_at(self, step: int) -> float:
        """Return the temperature of the teacher at an optimizer step."""
        return self._temp_m.at(step, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps)
