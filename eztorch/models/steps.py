"""What the steps of every LightningModule here share: seeding, batch transforms, the optimizer of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import run_seed, seed_everything_at


def seed_step(module: LightningModule, batch_idx: int) -> None:
    """Seed what a training step draws from (run seed, epoch, batch index, rank), so that a resumed run repeats it."""
    seed_everything_at(run_seed(), module.current_epoch, batch_idx, module.global_rank, device=module.device)


def is_empty(batch: Mapping[str, Any]) -> bool:
    """Say whether every sample of an evaluation batch failed, so that there is nothing to compute."""
    return batch.get("input") is None


def apply_transform(transform: Callable[[Any], Any] | None, inputs: Any) -> Any:
    """Run a batch transform on the device, in float32 and without gradients.

    Args:
        transform: From the input of a batch to the input of the model; None leaves it as it is.
        inputs: Tensor, or list of tensors of several views, first dimension the batch.
    """
    if transform is None:
        return inputs
    first = inputs[0] if isinstance(inputs, list | tuple) else inputs
    with torch.no_grad(), torch.autocast(first.device.type, enabled=False):
        return transform(inputs)


def steps_per_epoch(trainer: Trainer) -> int:
    """Return the number of optimizer steps in an epoch, accumulation and `limit_train_batches` counted in.

    Raises:
        ConfigError: The trainer has no end, so there is no epoch to speak of.
    """
    total, epochs = trainer.estimated_stepping_batches, trainer.max_epochs
    if math.isinf(total) or not epochs or epochs < 1:
        raise ConfigError(f"trainer.max_epochs={epochs} gives a run without an end; schedules need a positive number.")
    return max(1, int(total) // epochs)


def configure_optimizer(module: LightningModule, spec: Any) -> Any:
    """Build what `LightningModule.configure_optimizers` returns from the spec of an optimizer factory.

    Args:
        module: Its parameters are optimized; it may expose `learnable_params`, `num_layers` and `get_param_layer_id`.
        spec: Spec of, or a callable `(model, num_steps_per_epoch) -> (optimizer, lr scheduler mapping or None)`.
    """
    arguments = {"model": module, "num_steps_per_epoch": steps_per_epoch(module.trainer)}
    optimizer, scheduler = spec(**arguments) if callable(spec) else build(spec, **arguments)
    return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}
