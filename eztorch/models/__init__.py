"""LightningModules, and the networks that they are made of.

Trunks and heads are plain modules: importing them does not import Lightning, which the models need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eztorch.models.mae import MAEModel
    from eztorch.models.mosi import MoSIModel
    from eztorch.models.supervised import SupervisedModel
    from eztorch.models.trunk_model import TrunkModel

__all__ = ["MAEModel", "MoSIModel", "SupervisedModel", "TrunkModel"]

_MODULES = {"MAEModel": "mae", "MoSIModel": "mosi", "SupervisedModel": "supervised", "TrunkModel": "trunk_model"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"eztorch.models.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
