"""Siamese self-supervised methods: one file a method, on one base that holds what they share."""

from eztorch.models.siamese.barlow_twins import BarlowTwinsModel
from eztorch.models.siamese.base import SiameseModel
from eztorch.models.siamese.byol import BYOLModel
from eztorch.models.siamese.dino import DINOModel
from eztorch.models.siamese.features import Features
from eztorch.models.siamese.ibot import IBOTModel
from eztorch.models.siamese.legacy_checkpoints import convert_legacy_state_dict
from eztorch.models.siamese.moco import MoCoModel
from eztorch.models.siamese.mocov3 import MoCov3Model
from eztorch.models.siamese.nnclr import NNCLRModel
from eztorch.models.siamese.ressl import ReSSLModel
from eztorch.models.siamese.sce import SCEModel
from eztorch.models.siamese.sce_distill_tokens import SCEDistillTokensModel
from eztorch.models.siamese.sce_tokens import SCETokensModel
from eztorch.models.siamese.simclr import SimCLRModel
from eztorch.models.siamese.simsiam import SimSiamModel
from eztorch.models.siamese.supcon import SupConModel
from eztorch.models.siamese.swav import SwAVModel
from eztorch.models.siamese.vicreg import VICRegModel
from eztorch.models.siamese.view_plan import ViewPlan
from eztorch.models.siamese.wmse import WMSEModel

SCEDistillTokens = SCEDistillTokensModel  # as the predecessor has it

__all__ = [
    "BYOLModel",
    "BarlowTwinsModel",
    "DINOModel",
    "Features",
    "IBOTModel",
    "MoCoModel",
    "MoCov3Model",
    "NNCLRModel",
    "ReSSLModel",
    "SCEDistillTokens",
    "SCEDistillTokensModel",
    "SCEModel",
    "SCETokensModel",
    "SiameseModel",
    "SimCLRModel",
    "SimSiamModel",
    "SupConModel",
    "SwAVModel",
    "VICRegModel",
    "ViewPlan",
    "WMSEModel",
    "convert_legacy_state_dict",
]
