"""The optimizer of a configuration, with its learning-rate scheduler."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from typing_extensions import TypedDict, Unpack

from eztorch.optimizers.param_groups import param_groups
from eztorch.schedulers import scale_lr
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_TARGETS: Mapping[str, str] = {
    "adam": "torch.optim.Adam",
    "adamw": "torch.optim.AdamW",
    "lars": "eztorch.optimizers.LARS",
    "sgd": "torch.optim.SGD",
}


class OptimizerKeys(TypedDict, total=False):
    """Keys that the factories share; `optimizer_factory` says what they mean."""

    batch_size: int | None
    num_steps_per_epoch: int | None
    layer_decay_lr: float | None
    keys_without_decay: Sequence[str]
    exclude_wd_norm: bool
    exclude_wd_bias: bool
    scaler: str | None
    params: Mapping[str, Any] | None
    divide_wd_by_lr: bool
    scheduler: Mapping[str, Any] | None
    multiply_lr: float


def optimizer_factory(
    name: str,
    initial_lr: float,
    model: nn.Module,
    *,
    batch_size: int | None = None,
    num_steps_per_epoch: int | None = None,
    layer_decay_lr: float | None = None,
    keys_without_decay: Sequence[str] = (),
    exclude_wd_norm: bool = False,
    exclude_wd_bias: bool = False,
    scaler: str | None = None,
    params: Mapping[str, Any] | None = None,
    divide_wd_by_lr: bool = False,
    scheduler: Mapping[str, Any] | None = None,
    multiply_lr: float = 1.0,
    multiply_parameters: Sequence[Mapping[str, Any]] = (),
) -> tuple[Optimizer, dict[str, Any] | None]:
    """Make an optimizer over the learnable parameters of a model, and its scheduler.

    Args:
        name: `adam`, `adamw`, `lars` or `sgd`.
        initial_lr: Learning rate as the recipe states it.
        model: See `param_groups`, also for `layer_decay_lr`, `keys_without_decay`, `exclude_wd_norm`,
            `exclude_wd_bias` and `multiply_parameters`.
        batch_size: Global batch size, for the scaler.
        num_steps_per_epoch: Optimizer steps of an epoch, for the scheduler.
        layer_decay_lr: Factor of the rate from a layer to the one below it.
        keys_without_decay: Ends of the names of parameters without weight decay.
        exclude_wd_norm: Whether normalization layers have no weight decay.
        exclude_wd_bias: Whether biases have no weight decay.
        scaler: How the rate follows the batch size: `none`, `linear`, `sqrt` or `sqrt_256`, see `scale_lr`.
        params: Further arguments of the optimizer.
        divide_wd_by_lr: Whether the weight decay is divided by the scaled rate, for a recipe that states what a step
            takes off the weights at the full rate.
        scheduler: Spec of a scheduler factory, which also receives `optimizer, num_steps_per_epoch, scaler,
            batch_size, multiply_lr`.
        multiply_lr: A further factor of the rate.
        multiply_parameters: Factors of the rates of some parameters.

    Returns:
        The optimizer, and Lightning's mapping for the scheduler or None without one.

    Raises:
        ConfigError: A name, a key or a value is not possible.

    >>> optimizer, _ = optimizer_factory("sgd", 0.1, nn.Linear(2, 2), batch_size=512, scaler="linear")
    >>> optimizer.param_groups[0]["lr"]
    0.2
    """
    target = choose(_TARGETS, name, "optimizer.name")
    lr = scale_lr(initial_lr, scaler, batch_size, multiply_lr)
    if lr <= 0:
        raise ConfigError(f"optimizer.initial_lr={initial_lr} (scaled: {lr}) must be positive.")
    groups = param_groups(
        model,
        lr,
        layer_decay_lr=layer_decay_lr,
        keys_without_decay=keys_without_decay,
        exclude_wd_norm=exclude_wd_norm,
        exclude_wd_bias=exclude_wd_bias,
        multiply_parameters=multiply_parameters,
    )
    arguments = _arguments(params or {}, divide_wd_by=lr if divide_wd_by_lr else None)
    optimizer: Optimizer = build({"_target_": target, **arguments}, params=groups, lr=lr)
    if scheduler is None:
        return optimizer, None
    if not is_spec(scheduler):
        raise ConfigError(f"optimizer.scheduler={scheduler!r} must be a mapping with a _target_, or null.")
    mapping = build(
        scheduler,
        optimizer=optimizer,
        num_steps_per_epoch=num_steps_per_epoch,
        scaler=scaler,
        batch_size=batch_size,
        multiply_lr=multiply_lr,
    )
    return optimizer, mapping


def optimizer_factory_two_groups(
    name: str,
    initial_lr1: float,
    initial_lr2: float,
    model: nn.Module,
    *,
    first: str = "trunk",
    second: str = "classifier",
    multiply_parameters: Sequence[Mapping[str, Any]] = (),
    **shared: Unpack[OptimizerKeys],
) -> tuple[Optimizer, dict[str, Any] | None]:
    """Make an optimizer with a rate for each of the two parts of a model, and its scheduler.

    It is `optimizer_factory` at `initial_lr2` with the rates of the first part multiplied by `initial_lr1 /
    initial_lr2`: a group carries that as its `lr_scale`, whether it has weight decay or not, so that the ratio of the
    two holds at every step of a schedule, its `warmup_start_lr` and `eta_min` included, which are those of the second.

    Args:
        name: See `optimizer_factory`.
        initial_lr1: Rate of the first part.
        initial_lr2: Rate of the second part.
        model: It has both.
        first: Name of the first part in the model.
        second: Name of the second part.
        multiply_parameters: See `optimizer_factory`; further factors.
        **shared: See `optimizer_factory`.

    Raises:
        ConfigError: A rate is not positive, or the model lacks a part or has others that learn.

    >>> model = nn.ModuleDict({"trunk": nn.Linear(2, 2), "classifier": nn.Linear(2, 2)})
    >>> optimizer, _ = optimizer_factory_two_groups("sgd", 0.01, 0.1, model)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.01, 0.1]
    """
    for key, rate in (("initial_lr1", initial_lr1), ("initial_lr2", initial_lr2)):
        if not rate > 0:
            raise ConfigError(f"optimizer.{key}={rate} must be positive; a part that does not learn is frozen instead.")
    parts = {parameter.partition(".")[0] for parameter, value in model.named_parameters() if value.requires_grad}
    if parts != {first, second}:
        raise ConfigError(
            f"optimizer_factory_two_groups has rates for {first} and {second}; what learns of "
            f"{type(model).__name__} is {', '.join(sorted(parts)) or 'nothing'}."
        )
    rule = {"params": rf"{re.escape(first)}\.", "lr": initial_lr1 / initial_lr2}
    return optimizer_factory(name, initial_lr2, model, multiply_parameters=[rule, *multiply_parameters], **shared)


def _arguments(params: Mapping[str, Any], *, divide_wd_by: float | None) -> dict[str, Any]:
    if "lr" in params:
        raise ConfigError(f"optimizer.params.lr={params['lr']}: the rate is optimizer.initial_lr.")
    if divide_wd_by is None:
        return dict(params)
    if "weight_decay" not in params:
        raise ConfigError("optimizer.divide_wd_by_lr needs optimizer.params.weight_decay.")
    return {**params, "weight_decay": params["weight_decay"] / divide_wd_by}
