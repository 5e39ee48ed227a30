"""LightningModules, and the networks that they are made of.

Trunks and heads are plain modules: importing them does not import Lightning, which the models need.
"""

from typing import TYPE_CHECKING

from eztorch.utils.lazy import lazy_names

if TYPE_CHECKING:
    from eztorch.models.finetuning import FinetuningModel
    from eztorch.models.linear_classifier import LinearClassifierEvaluation
    from eztorch.models.mae import MAEModel
    from eztorch.models.mosi import MoSIModel
    from eztorch.models.multi_target import MultiTargetModel
    from eztorch.models.supervised import SupervisedModel
    from eztorch.models.trunk_model import TrunkModel

__all__ = [
    "FinetuningModel",
    "LinearClassifierEvaluation",
    "MAEModel",
    "MoSIModel",
    "MultiTargetModel",
    "SupervisedModel",
    "TrunkModel",
]

_MODULES = {
    "finetuning": ("FinetuningModel",),
    "linear_classifier": ("LinearClassifierEvaluation",),
    "mae": ("MAEModel",),
    "mosi": ("MoSIModel",),
    "multi_target": ("MultiTargetModel",),
    "supervised": ("SupervisedModel",),
    "trunk_model": ("TrunkModel",),
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
