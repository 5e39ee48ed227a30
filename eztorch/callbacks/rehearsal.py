"""The first steps of a training, and what they say of the rest."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from eztorch.callbacks.publishing import say
from eztorch.callbacks.throughput import batch_length, views_of
from eztorch.utils.machine import usable_cores

# Samples that are read to know how long one takes.
_READ = 8


class Rehearsal(Callback):
    """Ends a training after its first optimizer steps, and tells what they were made of and how long they took.

    Schedules are those of the whole training, so the steps are its first ones. The first step is left out of the times:
    what it sets up is set up once.

    Args:
        steps: Optimizer steps, at least 2.
    """

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self._steps = steps
        self._first_step = 0
        self._epoch_began = self._first_batch_s = 0.0
        self._ended: list[float] = []
        self._losses: list[torch.Tensor] = []
        self._shapes, self._samples = "", 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know the step that the training starts or continues from."""
        self._first_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the first batch."""
        self._epoch_began = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep when the first batch came, and what it is."""
        if not self._shapes:
            self._first_batch_s = time.perf_counter() - self._epoch_began
            self._shapes, self._samples = _shapes(batch), batch_length(batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep when the step ended; stop after the last one."""
        if trainer.global_step - self._first_step == len(self._ended):
            return  # gradients are being accumulated
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._ended.append(time.perf_counter())
        self._losses.append((outputs["loss"] if isinstance(outputs, Mapping) else outputs).detach())
        trainer.should_stop = len(self._ended) >= self._steps

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what was seen."""
        if self._ended:
            rows = dict(self._rows(trainer, pl_module))
            width = max(map(len, rows))
            say(trainer, "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items()))

    def _rows(self, trainer: Trainer, pl_module: LightningModule) -> Iterator[tuple[str, str]]:
        accumulated, total = trainer.accumulate_grad_batches, trainer.estimated_stepping_batches
        samples = getattr(trainer.datamodule, "train_num_samples", None)  # type: ignore[attr-defined]
        yield (
            "training",
            (f"{samples} samples, " if samples is not None else "")
            + f"{trainer.num_training_batches} batches an epoch for each of {trainer.world_size} process(es), "
            + _length(trainer)
            + (f", {accumulated} batches a step" if accumulated > 1 else ""),
        )
        yield "a batch", f"{self._shapes} for each process; the first came after {self._first_batch_s:.1f} s"
        yield "losses", ", ".join(f"{float(loss):.4g}" for loss in self._losses)
        yield "precision", f"{trainer.precision} on {pl_module.device}"
        yield "memory", _memory(pl_module.device)
        pauses = [later - sooner for sooner, later in zip(self._ended, self._ended[1:], strict=False)]
        if not pauses:
            return
        step, left = statistics.median(pauses), total - self._first_step
        taken = self._samples * accumulated / step
        yield "a step", f"{step:.3g} s, the median of {len(pauses)}: {taken:.3g} samples/s for each process"
        loader: Any = trainer.train_dataloader
        seconds = _seconds_a_sample(loader) if loader.num_workers else None
        if seconds:
            # The first batches were read ahead, so the steps do not say whether the workers keep up.
            given = min(loader.num_workers, usable_cores() / trainer.num_devices) / seconds
            verdict = "enough" if given >= taken else "fewer than it takes: it will wait"
            yield (
                "reading",
                f"{1000 * seconds:.3g} ms a sample; {loader.num_workers} worker(s) on the {usable_cores()} cores here "
                f"give about {given:.3g} samples/s to each process, {verdict}",
            )
            step = max(step, self._samples * accumulated / given)
        if math.isfinite(left):
            yield "the rest", f"{_duration(step * left)} for {left:.0f} steps at that pace, without evaluations"


def _length(trainer: Trainer) -> str:
    total = trainer.estimated_stepping_batches
    if not math.isfinite(total):
        return "no last step"
    return f"{total:.0f} optimizer steps" + (f" in {trainer.max_epochs} epochs" if trainer.max_steps < 0 else "")


def _seconds_a_sample(loader: Any) -> float | None:
    """Return how long it takes to read a sample of a loader, as one worker does it; None where that is not known."""
    if loader.batch_sampler is None or not hasattr(loader.dataset, "__getitem__"):
        return None
    addresses = next(iter(loader.batch_sampler))[:_READ]
    begin = time.perf_counter()
    for address in addresses:
        loader.dataset[address]
    return (time.perf_counter() - begin) / len(addresses)


def _shapes(batch: Any) -> str:
    """Say what a batch has as its input.

    >>> _shapes({"input": [torch.zeros(8, 3, 4, 16, 16, dtype=torch.uint8)] * 2}), _shapes("abc")
    ('8 samples, 2 views of 8 x 3 x 4 x 16 x 16, uint8', '3 samples')
    """
    views = [view for view in views_of(batch) if isinstance(view, torch.Tensor)]
    sizes = Counter(f"{' x '.join(map(str, view.shape))}, {str(view.dtype).removeprefix('torch.')}" for view in views)
    listed = " and ".join(f"{count} view{'s' if count > 1 else ''} of {size}" for size, count in sizes.items())
    return ", ".join(filter(None, [f"{batch_length(batch)} samples", listed]))


def _memory(device: torch.device) -> str:
    """Say how much memory was used at most: of the GPU, without one of this process."""
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        return f"{torch.cuda.max_memory_reserved(device) / 1e9:.1f} of {whole / 1e9:.1f} GB of the GPU at most"
    try:
        import resource
    except ImportError:  # Windows
        return "not known on this system"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB of this process at most"


def _duration(seconds: float) -> str:
    """Return a duration in words.

    >>> _duration(59), _duration(3 * 3600 + 120), _duration(50 * 3600)
    ('59 s', '3 h 2 min', '2 days 2 h')
    """
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 2:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    if days < 2:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(days)} days {int(hours) % 24} h"
