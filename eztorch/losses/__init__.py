"""Losses as pure functions. Nothing here knows Lightning."""

from eztorch.losses.sce_loss import sce_chance_level, sce_loss

__all__ = ["sce_chance_level", "sce_loss"]
