"""The learning-rate scheduler of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from eztorch.schedulers.closed_form import ClosedFormLR, CosineAnnealing, LinearWarmupCosineAnnealing, MultiStep
from eztorch.schedulers.scale_lr import scale_lr
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, did_you_mean

_CURVES: Mapping[str, type[CosineAnnealing] | type[LinearWarmupCosineAnnealing] | type[MultiStep]] = {
    "cosine_annealing_lr": CosineAnnealing,
    "linear_warmup_cosine_annealing_lr": LinearWarmupCosineAnnealing,
    "multi_step_lr": MultiStep,
}


def scheduler_factory(
    optimizer: Optimizer,
    name: str,
    params: Mapping[str, Any],
    *,
    interval: str = "epoch",
    num_steps_per_epoch: int | None = None,
    scaler: str | None = None,
    batch_size: int | None = None,
    multiply_lr: float = 1.0,
) -> dict[str, Any]:
    """Make a scheduler whose rates are a closed form of the step.

    Args:
        optimizer: Its groups carry their base rates, and their `lr_scale` where that differs from 1.
        name: `cosine_annealing_lr`, `linear_warmup_cosine_annealing_lr` or `multi_step_lr`.
        params: Lengths in epochs and rates as the recipe states them: `T_max, eta_min`; `max_epochs, warmup_epochs,
            warmup_start_lr, eta_min`; `milestones, gamma`.
        interval: `epoch`: the rate changes between epochs; `step`: at every optimizer step.
        num_steps_per_epoch: Optimizer steps of an epoch, needed by interval `step`: it multiplies every length, rounded
            to whole steps.
        scaler: Batch scaling, see `scale_lr`; `warmup_start_lr` and `eta_min` follow it as the base rate does.
        batch_size: Global batch size, for the scaler.
        multiply_lr: A further factor of the rates.

    Returns:
        Lightning's mapping: `scheduler`, `interval`, `frequency`.

    Raises:
        ConfigError: A name, a parameter or a value is not possible.
    """
    choose({"epoch": None, "step": None}, interval, "scheduler.interval")
    if interval == "step" and not num_steps_per_epoch:
        raise ConfigError(f"scheduler.interval='step' needs num_steps_per_epoch; got {num_steps_per_epoch}.")

    def length(epochs: float) -> float:
        return round(epochs * num_steps_per_epoch) if interval == "step" and num_steps_per_epoch else epochs

    def rate(lr: float) -> float:
        return scale_lr(lr, scaler, batch_size, multiply_lr)

    curve = _checked_curve(name, params).converted(length, rate)
    return {"scheduler": ClosedFormLR(optimizer, curve), "interval": interval, "frequency": 1}


def _checked_curve(name: str, params: Mapping[str, Any]) -> CosineAnnealing | LinearWarmupCosineAnnealing | MultiStep:
    kind = choose(_CURVES, name, "scheduler.name")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in params:
        if key not in fields:
            hint = did_you_mean(key, fields)
            raise ConfigError(f"scheduler.params.{key} is not known; {name} takes {sorted(fields)}.{hint}")
    for key, field in fields.items():
        if field.default is dataclasses.MISSING and key not in params:
            raise ConfigError(f"scheduler.params.{key} is missing; {name} needs it.")
    return kind(**params)
