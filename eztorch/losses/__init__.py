"""Losses as pure functions. Nothing here knows Lightning."""

from eztorch.losses.byol_loss import byol_loss, simsiam_loss
from eztorch.losses.moco_loss import moco_loss
from eztorch.losses.ressl_loss import ressl_loss
from eztorch.losses.sce_loss import sce_chance_level, sce_loss

__all__ = ["byol_loss", "moco_loss", "ressl_loss", "sce_chance_level", "sce_loss", "simsiam_loss"]
