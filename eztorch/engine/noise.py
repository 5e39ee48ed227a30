"""Keeping the terminal for what a person needs: advertisements and internals of libraries are left out."""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any

# Beginnings of what Lightning tells: advertisements, devices, which the line of the job names, and its own decisions.
_TOLD = (
    "\N{ELECTRIC LIGHT BULB} Tip:",
    "GPU available:",
    "TPU available:",
    "Trainer already configured with model summary callbacks",
    # Which checkpoint a job takes is a line of the job.
    "Restoring states from the checkpoint path at",
    "Restored all states from the checkpoint at",
    "Loaded model weights from the checkpoint at",
)


class _NoTips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_TOLD)


def _one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> str:
    return f"{category.__name__}: {message}\n"


def quieten() -> None:
    """Keep the terminal for what a person needs: no tips, nothing twice, nothing of the insides of libraries.

    A warning is printed without its line of code.
    """
    importlib.import_module("lightning.fabric.utilities.warnings")  # which sets a format of its own

    warnings.formatwarning = _one_line
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_NoTips())
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # What it tells of, running on a login node by mistake, is said by the line that names the processes of the job.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
    # A run that goes on finds what it has written.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # A network, or normalisations of one, that a recipe freezes is meant to be in evaluation mode.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
