"""How the temperature of a target, and the share of the positives of SCE, move over a run."""

from __future__ import annotations

from functools import partial

from typing_extensions import TypedDict

from eztorch.models.siamese.checks import above_zero, not_negative, share
from eztorch.schedulers.schedules import RAMPS, constant, warmed_up
from eztorch.utils.names import choose


class WarmedTemperature:
    """Temperature of a target as a function of the optimizer step: a warm-up, then a constant.

    Args:
        temp_m: Temperature after the warm-up.
        start: Temperature at step 0 of the warm-up.
        epochs: Length of the warm-up in epochs.
        scheduler: Its form: `constant`, `linear` or `cosine`.
        start_key: Configuration key of `start`, for the message.

    Raises:
        ConfigError: A value is out of its range, or the name is not known.
    """

    def __init__(
        self, temp_m: float, *, start: float, epochs: float, scheduler: str, start_key: str = "start_warmup_temp_m"
    ) -> None:
        self._value = partial(
            warmed_up,
            start=above_zero(start_key, start),
            base=above_zero("temp_m", temp_m),
            end=temp_m,
            warmup_ramp=choose(RAMPS, scheduler, "warmup_scheduler_temp_m"),
            decay_ramp=constant,
        )
        self._epochs = not_negative("warmup_epoch_temp_m", epochs)

    def at(self, step: int, *, steps_per_epoch: int, total_steps: int) -> float:
        """Return the temperature at an optimizer step."""
        return self._value(step, warmup=self._epochs * steps_per_epoch, total=total_steps - 1)


class SCEScheduleKeys(TypedDict, total=False):
    """Keys of the methods with these schedules; `SCESchedules` says what they mean."""

    temp_m: float
    start_warmup_temp_m: float
    warmup_epoch_temp_m: float
    warmup_scheduler_temp_m: str
    coeff: float
    start_warmup_coeff: float
    warmup_epoch_coeff: float
    warmup_scheduler_coeff: str
    scheduler_coeff: str | None
    final_scheduler_coeff: float


class SCESchedules:
    """Target temperature and coefficient as functions of the optimizer step.

    Args:
        temp_m: Temperature of the target's relations after its warm-up.
        start_warmup_temp_m: The same at step 0 of the warm-up.
        warmup_epoch_temp_m: Length of that warm-up in epochs.
        warmup_scheduler_temp_m: Its form: `constant`, `linear` or `cosine`.
        coeff: Share of the positives in the target after its warm-up, from 0 to 1.
        start_warmup_coeff: The same at step 0 of the warm-up.
        warmup_epoch_coeff: Length of that warm-up in epochs.
        warmup_scheduler_coeff: Its form: `constant`, `linear` or `cosine`.
        scheduler_coeff: Form of the way from `coeff` to `final_scheduler_coeff`, reached at the last step; None stays.
        final_scheduler_coeff: See `scheduler_coeff`.

    Raises:
        ConfigError: A value is out of its range, or a name is not known.
    """

    def __init__(
        self,
        *,
        temp_m: float = 0.05,
        start_warmup_temp_m: float = 0.05,
        warmup_epoch_temp_m: float = 0,
        warmup_scheduler_temp_m: str = "cosine",
        coeff: float = 0.5,
        start_warmup_coeff: float = 1.0,
        warmup_epoch_coeff: float = 0,
        warmup_scheduler_coeff: str = "linear",
        scheduler_coeff: str | None = None,
        final_scheduler_coeff: float = 0.0,
    ) -> None:
        self._temp_m = WarmedTemperature(
            temp_m, start=start_warmup_temp_m, epochs=warmup_epoch_temp_m, scheduler=warmup_scheduler_temp_m
        )
        self._coeff = partial(
            warmed_up,
            start=share("start_warmup_coeff", start_warmup_coeff),
            base=share("coeff", coeff),
            end=share("final_scheduler_coeff", final_scheduler_coeff),
            warmup_ramp=choose(RAMPS, warmup_scheduler_coeff, "warmup_scheduler_coeff"),
            decay_ramp=constant if scheduler_coeff is None else choose(RAMPS, scheduler_coeff, "scheduler_coeff"),
        )
        self._coeff_epochs = not_negative("warmup_epoch_coeff", warmup_epoch_coeff)

    def temp_m_at(self, step: int, *, steps_per_epoch: int, total_steps: int) -> float:
        """Return the temperature of the target's relations at an optimizer step."""
        return self._temp_m.at(step, steps_per_epoch=steps_per_epoch, total_steps=total_steps)

    def coeff_at(self, step: int, *, steps_per_epoch: int, total_steps: int) -> float:
        """Return the share of the positives in the target at an optimizer step."""
        return self._coeff(step, warmup=self._coeff_epochs * steps_per_epoch, total=total_steps - 1)
