"""What is trained, in a few lines, before a training begins."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from torch import nn

from eztorch.callbacks.publishing import say


class NetworkSummary(ModelSummary):
    """Says of every part of a module that has parameters how many, and how many of them learn.

    It is a `ModelSummary`, so Lightning adds none of its own, whose operations are 0 for modules without an example.
    """

    def __init__(self) -> None:
        super().__init__(max_depth=1)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the summary."""
        say(trainer, summary(pl_module))


def summary(module: nn.Module) -> str:
    """Return what the parts of a module are, one a line, and their parameters.

    >>> print(summary(nn.ModuleDict({"trunk": nn.Linear(2, 999), "head": nn.Linear(999, 10).requires_grad_(False)})))
    trunk  Linear   3.0 K parameters
    head   Linear  10.0 K parameters, none of them learn
    3.0 K of 13.0 K parameters learn
    """
    counts = [(name, type(part).__name__, *_count(part)) for name, part in module.named_children()]
    rows = [(name, kind, _readable(total), _note(total, learning)) for name, kind, total, learning in counts if total]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {number:>{widths[2]}} parameters{note}"
        for name, kind, number, note in rows
    ]
    total, learning = _count(module)
    return "\n".join([*lines, f"{_readable(learning)} of {_readable(total)} parameters learn"])


def _count(module: nn.Module) -> tuple[int, int]:
    """Return how many parameters a module has, and how many of them learn."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def _note(total: int, learning: int) -> str:
    if learning == total:
        return ""
    return f", {_readable(learning) if learning else 'none'} of them learn"


def _readable(number: int) -> str:
    return " ".join(get_human_readable_count(number).split())
