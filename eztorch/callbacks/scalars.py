"""Writing the scalars of the steps without a cost per step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from eztorch.callbacks.csv_logger import MetricsCSV
from eztorch.callbacks.publishing import WritingSteps, publish
from eztorch.utils.distributed import world_size
from eztorch.utils.errors import ConfigError


class ScalarLogger(Callback):
    """Collects `outputs["scalars"]` of the training steps and writes them every `trainer.log_every_n_steps`.

    A step costs a few list appends: nothing is read from the device before it is time to write; then everything goes
    through one transfer, and with several processes through one `all_reduce`.

    * A tensor is a measurement: written is its mean over the steps since the last writing and over the ranks.
    * A float is a setting (a temperature, a momentum): written is its value at the last step.
    * The learning rate of that step is written as `lr-<optimizer class>`, of several groups as
      `lr-<optimizer class>/<name or index of the group>`.
    * The numbers of the callbacks that are a `ScalarSource` join in.

    The first step of a run is written too, so that curves begin where training begins. At the end of an epoch the
    means over the epoch follow as `<name>_epoch`, and `trainer.callback_metrics["<name>"]` is that mean: what
    `ModelCheckpoint(monitor="pretrain/loss")` compares.
    """

    def __init__(self) -> None:
        self._due = WritingSteps()
        self._measured: dict[str, list[Tensor]] = defaultdict(list)
        self._settings: dict[str, float] = {}
        self._has_news = False
        self._epoch: dict[str, tuple[float, int]] = {}
        self._lrs: list[list[Any]] = []
        self._sources: list[ScalarSource] = []
        self._resumed_step = 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the step that the run continues from."""
        self._resumed_step = checkpoint["global_step"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let go of what was written after the checkpoint, before anything new is."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.start_at(self._resumed_step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the step that the run starts or continues from."""
        self._due.start(trainer)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
        self._sources = [callback for callback in callbacks if isinstance(callback, ScalarSource)]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the means of the epoch."""
        self._epoch.clear()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the learning rates before the scheduler moves on to those of the next step."""
        self._lrs = [[group["lr"] for group in optimizer.param_groups] for optimizer in trainer.optimizers]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the scalars of the step; write when it is time."""
        if isinstance(outputs, Mapping):
            for name, value in outputs.get("scalars", {}).items():
                if isinstance(value, Tensor):
                    self._measured[name].append(value)
                else:
                    self._settings[name] = value
        for source in self._sources:
            source.observe(outputs, batch)
        self._has_news = True
        if self._due.is_due(trainer):
            self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is left of the epoch, then the means over the whole of it."""
        if self._has_news:
            self._write(trainer, pl_module)
        means = {name: total / count for name, (total, count) in self._epoch.items()}
        publish(trainer, {f"{name}_epoch": mean for name, mean in means.items()})
        publish(trainer, means, to_loggers=False)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts = {name: len(values) for name, values in self._measured.items()}
        local: dict[str, Any] = {name: torch.stack(v).float().mean() for name, v in self._measured.items()}
        for source in self._sources:
            local.update(source.collect(trainer, pl_module))
        means = mean_over_ranks(local, pl_module.device)
        for name, count in counts.items():
            total, steps = self._epoch.get(name, (0.0, 0))
            self._epoch[name] = (total + means[name] * count, steps + count)
        settings = {name: float(value) for name, value in self._settings.items()}
        self._measured.clear()
        self._settings.clear()
        self._has_news = False
        publish(trainer, {**means, **settings, **self._learning_rates(trainer)})

    def _learning_rates(self, trainer: Trainer) -> dict[str, float]:
        rates: dict[str, float] = {}
        for position, (optimizer, values) in enumerate(zip(trainer.optimizers, self._lrs, strict=True)):
            name = f"lr-{type(optimizer).__name__}" + (f"-{position}" if position else "")
            for index, (group, value) in enumerate(zip(optimizer.param_groups, values, strict=True)):
                suffix = f"/{group.get('name', index)}" if len(values) > 1 else ""
                rates[name + suffix] = float(value)
        return rates


class ScalarSource(Callback, ABC):
    """A callback whose numbers join those of the steps when `ScalarLogger` writes.

    It is `ScalarLogger` that shows it the batches, so that the order of the callbacks does not matter.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that training has a `ScalarLogger`, without which the numbers would reach nobody."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
        if stage == "fit" and not any(isinstance(callback, ScalarLogger) for callback in callbacks):
            raise ConfigError(
                f"{type(self).__name__} hands its numbers to ScalarLogger, and the trainer has none; "
                "add eztorch.callbacks.ScalarLogger to its callbacks."
            )

    @abstractmethod
    def observe(self, outputs: Any, batch: Any) -> None:
        """Look at a training batch and what its step returned; the device is not to be waited for."""

    @abstractmethod
    def collect(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, float | Tensor]:
        """Return the numbers of this rank since the last call, the same names on every rank; they are averaged."""


def mean_over_ranks(values: Mapping[str, float | Tensor], device: torch.device) -> dict[str, float]:
    """Average numbers over the ranks: one transfer from the device and, with several ranks, one `all_reduce`.

    Args:
        values: Numbers of this rank, floats or 0-d tensors; the same names in the same order on every rank.
        device: Of the process group, where the numbers meet.

    >>> mean_over_ranks({"loss": torch.tensor(2.0), "wait": 0.5}, torch.device("cpu"))
    {'loss': 2.0, 'wait': 0.5}
    """
    if not values:
        return {}
    stacked = torch.stack([torch.as_tensor(value, dtype=torch.float32, device=device) for value in values.values()])
    if world_size() > 1:
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist(), strict=True))
