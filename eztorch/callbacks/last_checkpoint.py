"""The checkpoint from which a run is resumed."""

from __future__ import annotations

from pathlib import Path
from typing import final

from lightning.pytorch.callbacks import ModelCheckpoint


@final
class LastCheckpoint(ModelCheckpoint):
    """Keeps the newest epoch as `last.ckpt`, whatever other checkpoints a recipe keeps.

    It is a class of its own because Lightning tells the states of callbacks apart by class, `monitor`, `mode` and
    intervals: a recipe that keeps every epoch would collide with it.

    Args:
        dirpath: Folder of the checkpoint.
        every_n_epochs: Epochs between two of them.
    """

    def __init__(self, dirpath: str | Path, *, every_n_epochs: int = 1) -> None:
        super().__init__(
            dirpath,
            "last",
            save_top_k=1,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
