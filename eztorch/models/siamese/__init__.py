"""Siamese self-supervised methods: one file a method, on one base that holds what they share."""

from eztorch.models.siamese.base import Features, SiameseModel
from eztorch.models.siamese.byol import BYOLModel
from eztorch.models.siamese.legacy_checkpoints import convert_legacy_state_dict
from eztorch.models.siamese.moco import MoCoModel
from eztorch.models.siamese.mocov3 import MoCov3Model
from eztorch.models.siamese.ressl import ReSSLModel
from eztorch.models.siamese.sce import SCEModel
from eztorch.models.siamese.simsiam import SimSiamModel
from eztorch.models.siamese.view_plan import ViewPlan

__all__ = [
    "BYOLModel",
    "Features",
    "MoCoModel",
    "MoCov3Model",
    "ReSSLModel",
    "SCEModel",
    "SiameseModel",
    "SimSiamModel",
    "ViewPlan",
    "convert_legacy_state_dict",
]
