"""What the steps of every LightningModule here share: seeding, batch transforms, the optimizer of a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import run_seed, seed_everything_at


def seed_step(module: LightningModule, batch_idx: int) -> None:
    """Seed what a training step draws from (run seed, epoch, batch index, rank), so that a resumed run repeats it."""
    seed_everything_at(run_seed(), module.current_epoch, batch_idx, module.global_rank, device=module.device)


def is_empty(batch: Mapping[str, Any]) -> bool:
    """Say whether every sample of an evaluation batch failed, so that there is nothing to compute."""
    return batch.get("input") is None


def build_transform(spec: Any) -> Any:
    """Build a batch transform. Its constants follow the model to its device, but have no place in checkpoints.

    Args:
        spec: Spec of, or a callable that is the transform; None for none.
    """
    transform = build(spec)
    if isinstance(transform, nn.Module):
        for module in transform.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, buffer, persistent=False)
    return transform


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


def total_steps(trainer: Trainer) -> int:
    """Return the number of optimizer steps of the run, accumulation and `limit_train_batches` counted in.

    Raises:
        ConfigError: The run has no end, so there is nothing that a schedule could end with.
    """
    total = trainer.estimated_stepping_batches
    if math.isinf(total) or total < 0:
        raise ConfigError(
            f"trainer.max_epochs={trainer.max_epochs} and trainer.max_steps={trainer.max_steps} give a run without an "
            "end; schedules need one."
        )
    return int(total)


def steps_per_epoch(trainer: Trainer) -> int:
    """Return the number of optimizer steps of an epoch, accumulation and `limit_train_batches` counted in.

    Raises:
        ConfigError: The training loader has no length, so there is no epoch to speak of.
    """
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    if math.isinf(batches):
        raise ConfigError("The training loader has no length; write trainer.limit_train_batches, a number of batches.")
    return max(1, math.ceil(batches / trainer.accumulate_grad_batches))


def configure_optimizer(module: LightningModule, spec: Any) -> Any:
    """Build what `LightningModule.configure_optimizers` returns from the spec of an optimizer factory.

    Args:
        module: Its parameters are optimized; it may expose `learnable_params`, `num_layers` and `get_param_layer_id`.
        spec: Spec of, or a callable `(model, num_steps_per_epoch) -> (optimizer, lr scheduler mapping or None)`. Specs
            inside the spec, such as the scheduler's, are left to the factory.

    Raises:
        ConfigError: It is neither.
    """
    arguments = {"model": module, "num_steps_per_epoch": steps_per_epoch(module.trainer)}
    if callable(spec):
        optimizer, scheduler = spec(**arguments)
    elif is_spec(spec):
        optimizer, scheduler = build({"_recursive_": False, **spec}, **arguments)
    else:
        raise ConfigError(f"model.optimizer={spec!r} must be a mapping with a _target_, an optimizer factory.")
    return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}
