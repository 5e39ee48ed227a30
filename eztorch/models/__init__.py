"""LightningModules, and the networks that they are made of.

Trunks and heads are plain modules: importing them does not import Lightning, which the models need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "FinetuningModel": "finetuning",
    "LinearClassifierEvaluation": "linear_classifier",
    "MAEModel": "mae",
    "MoSIModel": "mosi",
    "MultiTargetModel": "multi_target",
    "SupervisedModel": "supervised",
    "TrunkModel": "trunk_model",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"eztorch.models.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
