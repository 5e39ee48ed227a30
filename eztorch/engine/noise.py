"""Keeping the terminal for what a person needs: advertisements and internals of libraries are left out."""

from __future__ import annotations

import logging
import warnings


class _NoTips(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "Tip: For seamless" not in record.getMessage()


def quieten() -> None:
    """Drop Lightning's tips, and warnings that are about the insides of libraries and ask nothing of the user."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_NoTips())
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # What it tells of, running on a login node by mistake, is said by the line that names the processes of the job.
    warnings.filterwarnings("ignore", message="The `srun` command is available on your system")
