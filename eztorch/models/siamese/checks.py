"""Checks of what a siamese method is made of, with messages that name the key and the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from eztorch.models.heads import PrototypeHead
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.models.siamese.view_plan import ViewPlan


def above_zero(key: str, value: float) -> float:
    """Return a value of a configuration that must be positive, such as a temperature.

    Raises:
        ConfigError: It is not.
    """
    if not value > 0:
        raise ConfigError(f"{key}={value}; expected a value above 0.")
    return float(value)


def not_negative(key: str, value: float) -> float:
    """Return a value of a configuration that must be at least 0, such as a number of epochs.

    Raises:
        ConfigError: It is not.
    """
    if not value >= 0:
        raise ConfigError(f"{key}={value}; expected a value of at least 0.")
    return float(value)


def share(key: str, value: float) -> float:
    """Return a value of a configuration that must be between 0 and 1, such as a coefficient.

    Raises:
        ConfigError: It is not.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}={value}; expected a value from 0 to 1.")
    return float(value)


def output_dim(network: nn.Module) -> int | None:
    """Return the length of what a network gives, where it says so: heads by `output_dim`, trunks by `num_features`."""
    dim = getattr(network, "output_dim", getattr(network, "num_features", None))
    return dim if isinstance(dim, int) else None


def check_chain(trunk: nn.Module, projector: nn.Module | None, predictor: nn.Module | None) -> None:
    """Refuse networks that do not fit together, where they tell their dimensions.

    Raises:
        ConfigError: A network takes another length than the one before gives, or predictions have another length than
            projections; the message names both.
    """
    given, giver = output_dim(trunk), "trunk"
    for name, network in (("projector", projector), ("predictor", predictor)):
        if network is None:
            continue
        taken = getattr(network, "input_dim", None)
        if isinstance(taken, int) and given is not None and taken != given:
            raise ConfigError(f"model.{name}.input_dim={taken}, but the {giver} gives {given} features.")
        before, given, giver = given, output_dim(network), name
    if predictor is None or isinstance(predictor, PrototypeHead):  # whose cosines are compared with an assignment
        return
    if before is not None and given is not None and before != given:
        raise ConfigError(
            f"model.predictor.output_dim={given}, but predictions are compared with projections, "
            f"which have {before} features."
        )


def check_both_ways(plan: ViewPlan, method: str) -> None:
    """Refuse a plan with a key view that is no query view: in a method without a target no network would encode it.

    Args:
        plan: Of the method.
        method: Its name, for the message.

    Raises:
        ConfigError: `sym` is false, or there is one global crop.
    """
    if not plan.sym or plan.num_global_crops < 2:
        raise ConfigError(
            f"num_global_crops={plan.num_global_crops} and sym={str(plan.sym).lower()}: a global crop of {method} is "
            "both a key and a query; write model.num_global_crops=2, or more, and model.sym=true."
        )
