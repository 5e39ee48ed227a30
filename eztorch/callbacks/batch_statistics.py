"""The same batch statistics on every process wherever they are used or kept."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from eztorch.modules import average_batch_statistics


class BatchStatistics(Callback):
    """Average the running statistics of batch normalisations over the processes before evaluation and at epoch ends.

    Buffers are not broadcast during training (a queue is a buffer too). So that what is evaluated is one network, on
    every process and in every checkpoint, their statistics are brought together where it matters. On one process, and
    for synchronised batch normalisations, there is nothing to do.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average before a validation."""
        average_batch_statistics(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Average before a checkpoint is written."""
        average_batch_statistics(pl_module)
