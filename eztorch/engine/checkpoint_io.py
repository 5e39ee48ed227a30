"""Writing checkpoints so that one is whole at any moment, the old or the new one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from eztorch.utils.errors import DataError


class WholeCheckpointIO(TorchCheckpointIO):  # type: ignore[misc, unused-ignore]
    """Writes beside the file that is there, and takes its place when all is written.

    Lightning writes into the folder for temporary files and moves from there. Where that is another file system it
    copies over the last checkpoint, and a full disk or a killed process leaves neither the old nor the new one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint; one of a store elsewhere (`s3://`) as Lightning does.

        Raises:
            DataError: It cannot be written; what was there is kept.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        # No `atomic_file`: what that leaves behind when a process is killed ends in .ckpt, as what a run goes on from.
        draft = file.with_name(f".{file.name}.new")
        try:
            torch.save(checkpoint, draft)
            draft.replace(file)
        except (OSError, RuntimeError) as error:
            draft.unlink(missing_ok=True)
            kept = "; the one before it is kept" if file.exists() else ""
            free = shutil.disk_usage(file.parent).free / 1e6
            raise DataError(f"{file} could not be written, {free:.0f} MB are free there{kept}: {error}") from error
