"""Learning-rate curves, and the scheduler that follows one of them: rates as a pure function of the step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from eztorch.schedulers.schedules import cosine, warmed_up
from eztorch.utils.errors import ConfigError

Curve = Callable[[float, float], float]
"""From the number of steps taken (a fraction where an epoch has several passes) and the base rate to the rate."""

Conversion = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class CosineAnnealing:
    """From the base rate to `eta_min` at `T_max` along half a cosine; `eta_min` after it.

    Attributes:
        T_max: Length, in epochs.
        eta_min: Rate at the end.
    """

    T_max: float
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        _check_not_negative(self, "T_max", "eta_min")

    def __call__(self, step: float, base: float) -> float:
        """Return the rate at a step."""
        return cosine(step, self.T_max, base, self.eta_min)

    def converted(self, length: Conversion, rate: Conversion) -> CosineAnnealing:
        """Return the curve with its lengths and rates converted."""
        return CosineAnnealing(T_max=length(self.T_max), eta_min=rate(self.eta_min))


@dataclass(frozen=True, kw_only=True)
class LinearWarmupCosineAnnealing:
    """From `warmup_start_lr` to the base rate at `warmup_epochs`, then to `eta_min` at `max_epochs`, held after it.

    Attributes:
        max_epochs: Where `eta_min` is reached, in epochs.
        warmup_epochs: Where the base rate is reached, in epochs; a fraction is fine.
        warmup_start_lr: Rate of the first step, unless there is no warm-up.
        eta_min: Rate at the end.
    """

    max_epochs: float
    warmup_epochs: float = 0.0
    warmup_start_lr: float = 0.0
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        _check_not_negative(self, "max_epochs", "warmup_epochs", "warmup_start_lr", "eta_min")
        if self.warmup_epochs > self.max_epochs:
            raise ConfigError(
                f"scheduler.params.warmup_epochs={self.warmup_epochs} is longer than max_epochs={self.max_epochs}."
            )

    def __call__(self, step: float, base: float) -> float:
        """Return the rate at a step."""
        return warmed_up(
            step,
            warmup=self.warmup_epochs,
            total=self.max_epochs,
            start=self.warmup_start_lr,
            base=base,
            end=self.eta_min,
        )

    def converted(self, length: Conversion, rate: Conversion) -> LinearWarmupCosineAnnealing:
        """Return the curve with its lengths and rates converted."""
        return LinearWarmupCosineAnnealing(
            max_epochs=length(self.max_epochs),
            warmup_epochs=length(self.warmup_epochs),
            warmup_start_lr=rate(self.warmup_start_lr),
            eta_min=rate(self.eta_min),
        )


@dataclass(frozen=True, kw_only=True)
class MultiStep:
    """The base rate times `gamma` for each milestone that has been reached.

    Attributes:
        milestones: Positions, in epochs, in rising order.
        gamma: Factor.
    """

    milestones: Sequence[float]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_not_negative(self, "gamma")
        if list(self.milestones) != sorted(self.milestones) or any(m < 0 for m in self.milestones):
            raise ConfigError(f"scheduler.params.milestones={list(self.milestones)} must be positions in rising order.")

    def __call__(self, step: float, base: float) -> float:
        """Return the rate at a step."""
        return base * self.gamma ** bisect_right(self.milestones, step)

    def converted(self, length: Conversion, rate: Conversion) -> MultiStep:
        """Return the curve with its lengths converted; it has no rates of its own."""
        return MultiStep(milestones=[length(milestone) for milestone in self.milestones], gamma=self.gamma)


class ClosedFormLR(LRScheduler):
    """Set the rate of every parameter group to a curve's value at the number of steps taken.

    The rate of a group is `s * curve(step, b / s)`, where `b` is the group's own base rate and `s` its `lr_scale`
    (1 when absent): a group that learns at a tenth of the rate does so from the warm-up's start to the annealing's end.

    The number of steps is all the state there is. Steps that a gradient scaler skips count as well, so the schedule
    keeps pace with the run; torch's warning about them does not apply here.

    Args:
        optimizer: Its groups are updated.
        curve: From step and base rate to rate.
    """

    def __init__(self, optimizer: Optimizer, curve: Curve) -> None:
        self.curve = curve
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]  # newer torch: list[float | Tensor], which is invariant
        """Return the rate of every group at the current step."""
        scales = [group.get("lr_scale", 1.0) for group in self.optimizer.param_groups]
        return [
            scale * self.curve(self.last_epoch, float(base) / scale)
            for base, scale in zip(self.base_lrs, scales, strict=True)
        ]

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step, or to step `epoch`."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._last_lr = self.get_lr()  # type: ignore[assignment]  # see get_lr
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps taken."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the step of a state."""
        self.step(state_dict["last_epoch"])


def _check_not_negative(curve: object, *names: str) -> None:
    for name in names:
        value = getattr(curve, name)
        if not isinstance(value, int | float):
            raise ConfigError(f"scheduler.params.{name}={value!r}; expected a number.")
        if value < 0:
            raise ConfigError(f"scheduler.params.{name}={value} must not be negative.")
