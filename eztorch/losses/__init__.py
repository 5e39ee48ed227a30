"""Losses as pure functions. Nothing here knows Lightning."""

from eztorch.losses.barlow_twins_loss import barlow_twins_loss
from eztorch.losses.byol_loss import byol_loss, simsiam_loss
from eztorch.losses.class_loss import as_weights, balanced_weights, class_loss, multi_label_loss
from eztorch.losses.dino_loss import centred, dino_loss
from eztorch.losses.ibot_loss import ibot_loss
from eztorch.losses.mae_loss import mae_loss
from eztorch.losses.moco_loss import moco_loss
from eztorch.losses.nnclr_loss import nearest_neighbours, nnclr_loss
from eztorch.losses.ressl_loss import ressl_loss
from eztorch.losses.sce_loss import sce_chance_level, sce_loss
from eztorch.losses.sce_token_loss import sce_token_chance_level, sce_token_loss
from eztorch.losses.simclr_loss import dcl_loss, simclr_loss
from eztorch.losses.supcon_loss import supcon_loss
from eztorch.losses.swav_loss import sinkhorn, swav_loss
from eztorch.losses.vicreg_loss import vicreg_terms
from eztorch.losses.wmse_loss import wmse_loss

__all__ = [
    "as_weights",
    "balanced_weights",
    "barlow_twins_loss",
    "byol_loss",
    "centred",
    "class_loss",
    "dcl_loss",
    "dino_loss",
    "ibot_loss",
    "mae_loss",
    "moco_loss",
    "multi_label_loss",
    "nearest_neighbours",
    "nnclr_loss",
    "ressl_loss",
    "sce_chance_level",
    "sce_loss",
    "sce_token_chance_level",
    "sce_token_loss",
    "simclr_loss",
    "simsiam_loss",
    "sinkhorn",
    "supcon_loss",
    "swav_loss",
    "vicreg_terms",
    "wmse_loss",
]
