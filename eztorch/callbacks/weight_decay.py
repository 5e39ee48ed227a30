"""Weight decay as a schedule, as DINO has it (https://arxiv.org/abs/2104.14294, section 3.2)."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from eztorch.models.steps import total_steps
from eztorch.schedulers.schedules import RAMPS
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


class WeightDecaySchedule(Callback):
    """Take the weight decay of every parameter group that has one from its first value to a last.

    The value is a function of the optimizer step, so a run that is continued goes on as it would have.

    Args:
        final: Weight decay at the last step, at least 0.
        scheduler: Form of the way there: `linear` or `cosine`.

    Raises:
        ConfigError: A value is out of its range, or, when training starts, no group has a weight decay.
    """

    def __init__(self, final: float, scheduler: str = "cosine") -> None:
        if not final >= 0:
            raise ConfigError(f"final={final}; a weight decay is at least 0.")
        self.final = final
        self._ramp = choose(RAMPS, scheduler, "scheduler")
        self._last_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out the length of the run and the first values."""
        self._last_step = total_steps(trainer) - 1
        if not any(group["weight_decay"] for optimizer in trainer.optimizers for group in optimizer.param_groups):
            raise ConfigError(
                "The optimizer has no weight decay that a schedule could begin with; write "
                "model.optimizer.params.weight_decay, or leave the callback out."
            )
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("initial_weight_decay", group["weight_decay"])  # a checkpoint may have it already

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the weight decay of the step."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                first = group["initial_weight_decay"]
                if first:
                    group["weight_decay"] = self._ramp(trainer.global_step, self._last_step, first, self.final)
