"""The progress bar: how far, how well, how fast, and how long it waits for data."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar as _ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from eztorch.callbacks.publishing import WritingSteps

_SHOWN = ("pretrain/loss", "train/loss", "val/loss", "val/acc_1", "online/val_acc_1", "knn/acc_1")
_SPEED, _WAIT = "time/samples_per_s", "time/data_wait"
_SECONDS_BETWEEN_UPDATES = 0.2


class ProgressBar(_ProgressBar):
    """Shows epoch, step, metrics, samples per second, the share of time spent waiting for data, and the time left.

    On a terminal it is a bar. Elsewhere (a log file, a batch job) it prints plain lines: one every `interval` seconds
    and one when an epoch is over. Only rank 0 shows anything. Numbers are those that were written last, every
    `trainer.log_every_n_steps`, so that showing them never waits for the device.

    Args:
        interval: Seconds between two plain lines.
        metrics: Names of the metrics to show, where they exist.
        stream: Where to write; standard output when it is not given.
    """

    def __init__(
        self, *, interval: float = 30.0, metrics: Sequence[str] = _SHOWN, stream: TextIO | None = None
    ) -> None:
        super().__init__()
        self._interval = interval
        self._names = tuple(metrics)
        self._console = Console(file=stream)
        self._enabled = True
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._last_shown = 0.0
        self._due = WritingSteps()
        self._values: dict[str, float] = {}
        self._begin: tuple[float, float] = (0.0, 0.0)  # time and batches done when training began
        self._batches = 0  # done in this epoch
        self._finished: _Position | None = None  # end of an epoch that is to be summed up

    def disable(self) -> None:
        """Show nothing from now on."""
        self._enabled = False
        self._close()

    def enable(self) -> None:
        """Show something again."""
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        """Say whether it shows anything; `LightningModule.print` asks."""
        return self._enabled

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._enabled:
            self._console.print(*args, markup=False, highlight=False, soft_wrap=True, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count the time."""
        self._begin = (time.monotonic(), _Position.of(trainer, 0).done)
        self._due.start(trainer)
        self._open()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum up the epoch before this one, now that every callback has written its numbers."""
        self._sum_up(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Take over the numbers, when some were written after the last step."""
        if self._enabled and self._due.is_due(trainer):
            self._read(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step, when some time has passed."""
        self._batches = batch_idx + 1
        if self._is_time():
            self._show_training(_Position.of(trainer, self._batches))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the epoch is to be summed up."""
        self._finished = _Position.of(trainer, self._batches)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sum up the last epoch."""
        self._sum_up(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the evaluation is."""
        self._show_evaluation("validation", "val", batch_idx, dataloader_idx)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the test is."""
        self._show_evaluation("test", "test", batch_idx, dataloader_idx)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open()

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show how far the features are."""
        self._show_evaluation("features", "predict", batch_idx, dataloader_idx)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the terminal as it was."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._close()

    def _open(self) -> None:
        self._last_shown = time.monotonic()
        if self._enabled and self._console.is_terminal and self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, console=self._console, refresh_per_second=4)
            self._task = self._bar.add_task("starting", text="")
            self._bar.start()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _is_time(self) -> bool:
        if not self._enabled:
            return False
        now = time.monotonic()
        if now - self._last_shown < (self._interval if self._bar is None else _SECONDS_BETWEEN_UPDATES):
            return False
        self._last_shown = now
        return True

    def _read(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics
        self._values = {name: float(metrics[name]) for name in (*self._names, _SPEED, _WAIT) if name in metrics}

    def _sum_up(self, trainer: Trainer) -> None:
        if self._finished is not None and self._enabled:
            self._read(trainer)
            self._show_training(self._finished)
            self._last_shown = time.monotonic()
        self._finished = None

    def _show_training(self, position: _Position) -> None:
        parts = [f"step {position.batch}{_of(position.batches)}"]
        parts += [f"{name} {self._values[name]:.4g}" for name in self._names if name in self._values]
        if _SPEED in self._values:
            parts += [f"{self._values[_SPEED]:.3g} samples/s", f"waiting for data {self._values[_WAIT]:.0%}"]
        begin, first = self._begin
        seconds = position.left * (time.monotonic() - begin) / max(position.done - first, 1)
        if 0 < seconds < math.inf:
            parts.append(f"{_duration(seconds)} left")
        self._show(f"epoch {position.epoch + 1}{_of(position.epochs)}", parts, position.batch, position.batches)

    def _show_evaluation(self, what: str, stage: str, batch_idx: int, dataloader_idx: int) -> None:
        if self._is_time():
            self.has_dataloader_changed(dataloader_idx)
            batches = getattr(self, f"total_{stage}_batches_current_dataloader")
            self._show(what, [f"batch {batch_idx + 1}{_of(batches)}"], batch_idx + 1, batches)

    def _show(self, title: str, parts: Sequence[str], done: float, total: float) -> None:
        text = " | ".join(parts)
        if self._bar is None:
            self._console.print(f"{title} | {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            known_total = None if math.isinf(total) else total
            self._bar.update(self._task, description=title, completed=done, total=known_total, text=text)


@dataclass(frozen=True)
class _Position:
    """Where a run stands: epoch of epochs, batch of the batches of an epoch; infinite where there is no end."""

    epoch: int
    epochs: float
    batch: int
    batches: float

    @staticmethod
    def of(trainer: Trainer, batch: int) -> _Position:
        epochs = trainer.max_epochs
        return _Position(
            trainer.current_epoch, math.inf if epochs in (None, -1) else epochs, batch, trainer.num_training_batches
        )

    @property
    def done(self) -> float:
        """Batches done in the run."""
        return self.batch + (self.epoch * self.batches if self.epoch else 0)

    @property
    def left(self) -> float:
        """Batches left in the run."""
        return self.epochs * self.batches - self.done


def _of(total: float) -> str:
    return "" if math.isinf(total) else f"/{total:.0f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
