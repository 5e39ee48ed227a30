"""Scalar schedules: pure functions of the step, for learning rates, momenta, temperatures and coefficients.

Every ramp leaves `start` at step 0 and arrives at `end` at step `length`, exactly, whether it rises or falls, and holds
`end` after it. A ramp of length 0 is over from the first step. With `p = min(step / length, 1)`:

    linear(p) = (1 - p) * start + p * end
    cosine(p) = (1 - w) * start + w * end,  w = (1 - cos(pi * p)) / 2      (SGDR, arXiv 1608.03983, eq. 5)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from eztorch.utils.names import choose

Ramp = Callable[[float, float, float, float], float]


def constant(step: float, length: float, start: float, end: float) -> float:
    """Return `start` at every step; it takes the arguments of a ramp so that a configuration can name it."""
    return start


def linear(step: float, length: float, start: float, end: float) -> float:
    """Go from `start` at step 0 to `end` at step `length` in equal steps.

    >>> [linear(step, 4, 0.0, 1.0) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return _mix(_progress(step, length), start, end)


def cosine(step: float, length: float, start: float, end: float) -> float:
    """Go from `start` at step 0 to `end` at step `length` along half a period of a cosine.

    >>> [round(cosine(step, 4, 1.0, 0.0), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    return _mix((1 - math.cos(math.pi * _progress(step, length))) / 2, start, end)


RAMPS: Mapping[str, Ramp] = {"constant": constant, "linear": linear, "cosine": cosine}


def ramp(name: str, step: float, length: float, start: float, end: float, *, key: str = "scheduler") -> float:
    """Evaluate the ramp that a configuration names.

    Args:
        name: `constant`, `linear` or `cosine`.
        step: Position, in the unit of `length`.
        length: Where `end` is reached.
        start: Value at step 0.
        end: Value from step `length` on.
        key: Configuration key that the name came from, for the message.

    Raises:
        ConfigError: The name is not known.
    """
    return choose(RAMPS, name, key)(step, length, start, end)


def warmed_up(
    step: float,
    *,
    warmup: float,
    total: float,
    start: float,
    base: float,
    end: float,
    warmup_ramp: Ramp = linear,
    decay_ramp: Ramp = cosine,
) -> float:
    """Warm up from `start` to `base`, reached exactly at step `warmup`, then go to `end`, reached at step `total`.

    >>> [round(warmed_up(step, warmup=2, total=6, start=0.0, base=1.0, end=0.0), 3) for step in range(8)]
    [0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    if step < warmup:
        return warmup_ramp(step, warmup, start, base)
    return decay_ramp(step - warmup, total - warmup, base, end)


def momentum_at(name: str, initial: float, step: int, total_steps: int, steps_per_epoch: int) -> float:
    r"""Return the momentum of a target network's moving average at an optimizer step.

    As in BYOL (arXiv 2006.07733, section 3.3), so that the last update, `step = total_steps - 1`, has momentum 1:

        m(t) = 1 - (1 - initial) * (cos(pi * t / (T - 1)) + 1) / 2

    A run of one step (`cosine`) or of one epoch (`cosine_epoch`) has no room for a schedule and stays at `initial`.

    Args:
        name: `cosine` (t counts steps), `cosine_epoch` (t counts epochs) or `constant`.
        initial: Momentum at step 0.
        step: Optimizer step, from 0.
        total_steps: Number of optimizer steps of the run.
        steps_per_epoch: Number of optimizer steps of an epoch.

    Raises:
        ConfigError: The name is not known.

    >>> [round(momentum_at("cosine", 0.5, t, 3, 1), 2) for t in range(3)]
    [0.5, 0.75, 1.0]
    """
    epochs = -(-total_steps // steps_per_epoch)
    position, count = choose(
        {"cosine": (step, total_steps), "cosine_epoch": (step // steps_per_epoch, epochs), "constant": (0, 1)},
        name,
        "scheduler_momentum",
    )
    return initial if count <= 1 else cosine(position, count - 1, initial, 1.0)


def _progress(step: float, length: float) -> float:
    return 1.0 if step >= length else max(step / length, 0.0)


def _mix(weight: float, start: float, end: float) -> float:
    """Weigh `start` and `end` so that both are returned exactly, which `start + weight * (end - start)` does not do."""
    return (1 - weight) * start + weight * end
