"""A picture of what the model sees in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from eztorch.models.steps import apply_transform
from eztorch.utils.randomness import addressed_randomness, run_seed
from eztorch.visualization.views import save_contact_sheet


class ViewRecorder(Callback):
    """Writes a picture of the first training batch after its transforms: a row a sample, a block a view.

    The module's `train_transform` runs once more, on a copy of a few samples and with generators of its own, so that
    the run is the same with and without the picture. A run that continues keeps the picture that it has.

    Args:
        path: The file, `views.png` of the run directory.
        num_samples: Number of samples to show.
        mean: Mean that the transforms normalise with; without it each clip is stretched to the full range.
        std: Standard deviation that they normalise with.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_samples: int = 4,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._path = Path(path)
        self._num_samples = num_samples
        self._mean, self._std = mean, std
        self._is_done = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write the picture before the first step, on rank 0."""
        if self._is_done:
            return
        self._is_done = True
        if not trainer.is_global_zero or (trainer.global_step > 0 and self._path.exists()):
            return
        if not isinstance(batch, Mapping) or batch.get("input") is None:  # of a user's own loader
            return
        inputs = batch["input"]
        is_list = isinstance(inputs, list | tuple)
        views = [view[: self._num_samples].clone() for view in (inputs if is_list else [inputs])]
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), addressed_randomness(run_seed()):
            transform = getattr(pl_module, "train_transform", None)
            views = apply_transform(transform, views if is_list else views[0])
        save_contact_sheet(views, self._path, mean=self._mean, std=self._std)
