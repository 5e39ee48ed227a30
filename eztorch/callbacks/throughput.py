"""Where the time of training goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sized
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import Profiler

from eztorch.callbacks.scalars import ScalarSource

# The name under which Lightning's training loop profiles the fetching of a batch.
_FETCH = "[_TrainingEpochLoop].train_dataloader_next"


class ThroughputMonitor(ScalarSource):
    """Measures how fast samples go through training and how long it waits for them.

    Since the last writing: `time/samples_per_s` (all ranks together), `time/step_ms` (an optimizer step, its share of
    waiting included), `time/data_wait` (share of the time spent waiting for the loader, 0 to 1) and, on a GPU,
    `time/peak_memory_gb`. Validation and what runs between epochs are not counted.
    """

    def __init__(self) -> None:
        self._timer: _FetchTimer | None = None
        self._samples = 0
        self._first_step = 0
        self._begin = 0.0
        self._waited = 0.0
        self._paused = 0.0
        self._waits_for_first_batch = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the fetching of batches."""
        self._timer = _FetchTimer(trainer.profiler)  # type: ignore[attr-defined]  # a connector sets it
        trainer.profiler = self._timer  # type: ignore[attr-defined]
        self._restart(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a stretch of time; starting the workers of the loader belongs to it."""
        self._restart(trainer)
        self._waits_for_first_batch = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count all the time before the first batch as waiting for it."""
        if self._waits_for_first_batch:
            self._waits_for_first_batch = False
            if self._timer is not None:
                self._timer.waited = 0.0
            self._waited = time.perf_counter() - self._begin

    def observe(self, outputs: Any, batch: Any) -> None:
        """Count the samples."""
        self._samples += batch_length(batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._paused -= time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the clock go on."""
        self._paused += time.perf_counter()

    def collect(self, trainer: Trainer, pl_module: LightningModule) -> Mapping[str, float]:
        """Return the figures since the last call."""
        on_gpu = pl_module.device.type == "cuda"
        if on_gpu:  # the writing reads from the device right after this, so waiting here costs nothing
            torch.cuda.synchronize(pl_module.device)
        elapsed = time.perf_counter() - self._begin - self._paused
        waited = self._waited + (self._timer.waited if self._timer is not None else 0.0)
        steps = trainer.global_step - self._first_step
        figures = {
            "time/samples_per_s": self._samples * trainer.world_size / elapsed,
            "time/step_ms": 1000 * elapsed / max(steps, 1),
            "time/data_wait": waited / elapsed,
        }
        if on_gpu:
            figures["time/peak_memory_gb"] = torch.cuda.max_memory_allocated(pl_module.device) / 1e9
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._restart(trainer)
        return figures

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the trainer its own profiler back."""
        if self._timer is not None:
            trainer.profiler = self._timer.profiler  # type: ignore[attr-defined]
        self._timer = None

    def _restart(self, trainer: Trainer) -> None:
        self._begin = time.perf_counter()
        self._waited = self._paused = 0.0
        self._samples = 0
        self._first_step = trainer.global_step
        if self._timer is not None:
            self._timer.waited = 0.0


def views_of(batch: Any) -> list[Any]:
    """Return the views of the samples of a batch: its input, or what a batch of a user's own loader holds first.

    >>> len(views_of({"input": [torch.zeros(4), torch.zeros(4)]})), len(views_of((torch.zeros(5, 3), torch.zeros(5))))
    (2, 1)
    """
    if isinstance(batch, Mapping):
        inputs = batch.get("input", next(iter(batch.values()), None))
        return list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    return [batch[0] if isinstance(batch, list | tuple) and batch else batch]


def batch_length(batch: Any) -> int:
    """Return the number of samples of a batch; several views of a sample count once.

    A batch of a user's own loader is as long as the first that it holds, and 0 where that has no length.

    >>> batch_length({"input": [torch.zeros(4, 3), torch.zeros(4, 3)]}), batch_length({"input": None})
    (4, 0)
    >>> batch_length((torch.zeros(5, 3), torch.zeros(5))), batch_length(torch.zeros(6))
    (5, 6)
    """
    first = next(iter(views_of(batch)), None)
    is_scalar = isinstance(first, torch.Tensor) and not first.ndim
    return len(first) if isinstance(first, Sized) and not is_scalar else 0


class _FetchTimer(Profiler):
    """Adds up the time in which the training loop fetches batches, and passes everything on to the real profiler.

    Only here does Lightning say when it waits for the loader: between two hooks there is also the work of the other
    callbacks and, with several processes, an exchange that waits for the device.
    """

    def __init__(self, profiler: Profiler) -> None:
        super().__init__()
        self.profiler = profiler
        self.waited = 0.0
        self._begin = 0.0

    def start(self, action_name: str) -> None:
        if action_name == _FETCH:
            self._begin = time.perf_counter()
        self.profiler.start(action_name)

    def stop(self, action_name: str) -> None:
        self.profiler.stop(action_name)
        if action_name == _FETCH:
            self.waited += time.perf_counter() - self._begin

    def summary(self) -> str:
        return self.profiler.summary()

    def describe(self) -> None:
        self.profiler.describe()

    def teardown(self, stage: str | None) -> None:
        """Leave the real profiler open: the trainer closes it itself."""
