"""Schedules in closed form: scalars as functions of the step, and learning-rate schedulers that follow them."""

from eztorch.schedulers.closed_form import ClosedFormLR
from eztorch.schedulers.factory import scheduler_factory
from eztorch.schedulers.scale_lr import scale_lr
from eztorch.schedulers.schedules import constant, cosine, linear, momentum_at, ramp, warmed_up

__all__ = [
    "ClosedFormLR",
    "constant",
    "cosine",
    "linear",
    "momentum_at",
    "ramp",
    "scale_lr",
    "scheduler_factory",
    "warmed_up",
]
