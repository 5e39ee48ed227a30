"""Optimizers, and the factory that makes them from a configuration."""

from eztorch.optimizers.factory import optimizer_factory, optimizer_factory_two_groups
from eztorch.optimizers.lars import LARS
from eztorch.optimizers.param_groups import param_groups

__all__ = ["LARS", "optimizer_factory", "optimizer_factory_two_groups", "param_groups"]
