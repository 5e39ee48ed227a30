"""Optimizers, and the factory that makes them from a configuration."""

from eztorch.optimizers.factory import optimizer_factory
from eztorch.optimizers.lars import LARS
from eztorch.optimizers.param_groups import param_groups

__all__ = ["LARS", "optimizer_factory", "param_groups"]
