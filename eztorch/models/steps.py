"""What the steps of every LightningModule here share: seeding, batch transforms, the optimizer of a spec.

An epoch may pass several times over the training data (`num_folds` of its loader). E epochs of N passes are the same
run as E * N epochs of one: what is seeded by the epoch, or moves from epoch to epoch, goes by the pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from eztorch.schedulers.closed_form import ClosedFormLR
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import run_seed, seed_everything_at


def seed_step(module: LightningModule, batch_idx: int) -> None:
    """Seed what a training step draws from (run seed, pass, batch of the pass, rank), so that a resumed run repeats it.

    Without folds a pass is an epoch.
    """
    number, batch = pass_at(module, batch_idx)
    seed_everything_at(run_seed(), number, batch, module.global_rank, device=module.device)


def pass_at(module: LightningModule, batch_idx: int) -> tuple[int, int]:
    """Return the pass over the training data that a batch of the epoch is of, and its number in that pass."""
    loader = None if module._trainer is None else module._trainer.train_dataloader  # `module.trainer` would raise
    folds = getattr(loader, "num_folds", 1)
    if folds == 1:
        return module.current_epoch, batch_idx
    fold, batch = divmod(batch_idx, loader.batches_per_pass)  # type: ignore[union-attr]  # it has folds
    return module.current_epoch * folds + fold, batch


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

    Transforms and models get contiguous memory. Batches often have their channels last, as they left the decoder; here,
    on the device, is where turning that costs least.

    Args:
        transform: From the input of a batch to the input of the model; None leaves its values as they are.
        inputs: Tensor, or list of tensors of several views, first dimension the batch.
    """
    is_list = isinstance(inputs, list | tuple)
    inputs = [view.contiguous() for view in inputs] if is_list else inputs.contiguous()
    if transform is None:
        return inputs
    first = inputs[0] if is_list else inputs
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


def passes_per_epoch(trainer: Trainer) -> int:
    """Return how many times an epoch passes over the training data; 1 where `limit_train_batches` cuts it short."""
    if trainer.train_dataloader is None:
        trainer.fit_loop.setup_data()
    loader: Any = trainer.train_dataloader
    folds = int(getattr(loader, "num_folds", 1))
    return folds if folds == 1 or trainer.num_training_batches == len(loader) else 1


def steps_per_pass(trainer: Trainer) -> int:
    """Return the number of optimizer steps of a pass over the training data; see `steps_per_epoch`."""
    return steps_per_epoch(trainer) // passes_per_epoch(trainer)


def configure_optimizer(module: LightningModule, spec: Any) -> Any:
    """Build what `LightningModule.configure_optimizers` returns; see `build_optimizer`.

    Args:
        module: Its parameters are optimized; it may expose `learnable_params`, `num_layers` and `get_param_layer_id`.
        spec: Spec of, or a callable that is the factory.
    """
    optimizer, scheduler = build_optimizer(spec, module, module.trainer, key="model.optimizer")
    return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}


def build_optimizer(
    spec: Any, model: nn.Module, trainer: Trainer, *, key: str
) -> tuple[Optimizer, dict[str, Any] | None]:
    """Build an optimizer and its scheduler.

    A rate of ours that changes between epochs changes between the passes of an epoch too.

    Args:
        spec: Spec of, or a callable `(model, num_steps_per_epoch) -> (optimizer, lr scheduler mapping or None)`. Specs
            inside the spec, such as the scheduler's, are left to the factory.
        model: Its parameters are optimized.
        trainer: It says how long an epoch is.
        key: Configuration key of the spec, for the message.

    Returns:
        The optimizer, and Lightning's mapping for the scheduler or None without one.

    Raises:
        ConfigError: It is neither.
    """
    arguments = {"model": model, "num_steps_per_epoch": steps_per_epoch(trainer)}
    if callable(spec):
        optimizer, scheduler = spec(**arguments)
    elif is_spec(spec):
        optimizer, scheduler = build({"_recursive_": False, **spec}, **arguments)
    else:
        raise ConfigError(f"{key}={spec!r} must be a mapping with a _target_, an optimizer factory.")
    return optimizer, None if scheduler is None else _by_pass(scheduler, trainer)


def _by_pass(scheduler: Mapping[str, Any], trainer: Trainer) -> dict[str, Any]:
    """Let a scheduler that steps between epochs step between passes, of which its curve then counts fractions."""
    passes, curve_lr = passes_per_epoch(trainer), scheduler.get("scheduler")
    if passes == 1 or scheduler.get("interval", "epoch") != "epoch" or not isinstance(curve_lr, ClosedFormLR):
        return dict(scheduler)
    curve = curve_lr.curve
    curve_lr.curve = lambda step, base: curve(step / passes, base)
    batches = int(trainer.num_training_batches) // passes  # Lightning counts the frequency in batches
    return {**scheduler, "interval": "step", "frequency": scheduler.get("frequency", 1) * batches}
