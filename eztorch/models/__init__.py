"""LightningModules, and the networks that they are made of.

Trunks and heads are plain modules: importing them does not import Lightning, which the models need.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eztorch.models.supervised import SupervisedModel

__all__ = ["SupervisedModel"]


def __getattr__(name: str) -> Any:
    if name == "SupervisedModel":
        from eztorch.models.supervised import SupervisedModel

        return SupervisedModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
