"""Siamese self-supervised methods: one file a method, on one base that holds what they share."""

from eztorch.models.siamese.base import Features, SiameseModel
from eztorch.models.siamese.legacy_checkpoints import convert_legacy_state_dict
from eztorch.models.siamese.sce import SCEModel
from eztorch.models.siamese.view_plan import ViewPlan

__all__ = ["Features", "SCEModel", "SiameseModel", "ViewPlan", "convert_legacy_state_dict"]
