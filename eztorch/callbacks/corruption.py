"""A test on corrupted inputs."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from eztorch.transforms.corruptions import CORRUPTIONS, check_severity, corrupt
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.randomness import generator, run_seed


class CorruptInput(Callback):
    """Corrupts the views of a test, as the data set gives them, before `test_transform` of the model.

    What is drawn for a view depends on the seed of the run, the corruption, and which view of which video it is; not on
    batches, workers or processes. Crops in space of one clip lose the same frames.

    Args:
        name: One of `eztorch.transforms.corruptions.CORRUPTIONS`.
        severity: 1 to 5, or 0 for none.

    Raises:
        ConfigError: They are not known; in the test, the inputs are no bytes or several a sample.
    """

    def __init__(self, name: str, severity: int) -> None:
        self._corruption = choose(CORRUPTIONS, name, "corruption")
        self._name, self._severity = name, check_severity(severity)
        self._stream = zlib.crc32(name.encode())

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Put the corrupted views in the place of those of the batch."""
        inputs = batch.get("input")
        if inputs is None:
            return
        if not isinstance(inputs, Tensor):
            raise ConfigError(
                f"{self._name} corrupts one view a sample, and the test split gives {len(inputs)} at once."
            )
        places = [batch["idx"], self._place(batch, "clip_index")]
        if not self._corruption.of_time:
            places.append(self._place(batch, "aug_index"))
        addresses = torch.stack(places, dim=1).tolist()
        corrupted = [
            corrupt(view, self._name, self._severity, generator(run_seed(), self._stream, self._severity, *address))
            for view, address in zip(inputs.cpu(), addresses, strict=True)
        ]
        batch["input"] = torch.stack(corrupted).to(inputs.device)

    @staticmethod
    def _place(batch: Any, key: str) -> Tensor:
        place = batch.get(key)
        return place if isinstance(place, Tensor) else torch.zeros_like(batch["idx"])
