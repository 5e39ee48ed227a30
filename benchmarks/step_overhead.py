"""What a training step costs beyond a plain PyTorch loop, with four logged values.

    python benchmarks/step_overhead.py [--steps 500] [--rounds 7]

Each round runs, in changing order: a plain loop, Lightning's bare loop, Lightning with four `self.log` calls, ours
(`ScalarLogger` writing to `metrics.csv` every 50 steps), and ours with all callbacks that a pretraining has by default.
The model is tiny, so that the time is the framework's. Printed are the medians over the rounds: milliseconds a step,
those beyond the plain loop, and these as a multiple of the bare loop's.
Goal: ours costs at most 1.8 times what the bare loop costs (0.40 ms where that takes 0.22).
"""

from __future__ import annotations

import argparse
import io
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from eztorch.callbacks import (
    CollapseMonitor,
    FailureMonitor,
    MetricsCSV,
    ProgressBar,
    ScalarLogger,
    ThroughputMonitor,
)

NAMES = ("pretrain/loss", "pretrain/temp", "pretrain/coeff", "pretrain/momentum_value")
GOAL = 1.8


class Batches(torch.utils.data.Dataset):
    """The same batch over and over, so that loading it costs next to nothing."""

    def __init__(self, steps: int) -> None:
        self.steps, self.batch = steps, {"input": torch.randn(8, 32)}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.batch


class Model(LightningModule):
    """One linear layer; `log` says what becomes of four values a step: nothing, `self.log` or `scalars`."""

    def __init__(self, log: str | None = None) -> None:
        super().__init__()
        self.layer, self.how = nn.Linear(32, 2), log

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> dict:
        """Return a loss, and four values."""
        h = self.layer(batch["input"])
        loss = h.pow(2).mean()
        if self.how == "self.log":
            for name in NAMES:
                self.log(name, loss.detach(), on_step=True, on_epoch=True)
        if self.how == "scalars":
            return {"loss": loss, "scalars": dict.fromkeys(NAMES, loss.detach()), "h": h.detach(), "z": h.detach()}
        return {"loss": loss}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Clock(Callback):
    """Times the steps from the first to the last, without the start of the trainer."""

    def on_train_epoch_start(self, *_) -> None:
        """Begin."""
        self.begin = time.perf_counter()

    def on_train_epoch_end(self, *_) -> None:
        """End."""
        self.seconds = time.perf_counter() - self.begin


def plain_loop(steps: int, folder: Path) -> float:
    """Return the seconds of a plain loop over the same loader."""
    model = Model()
    optimizer = model.configure_optimizers()
    loader = DataLoader(Batches(steps), batch_size=None)
    begin = time.perf_counter()
    for index, batch in enumerate(loader):
        optimizer.zero_grad()
        model.training_step(batch, index)["loss"].backward()
        optimizer.step()
    return time.perf_counter() - begin


def lightning_loop(steps: int, folder: Path, log: str | None = None, *, monitors: bool = False) -> float:
    """Return the seconds of Lightning's loop."""
    callbacks: list[Callback] = [ScalarLogger()] if log == "scalars" else []
    if monitors:
        callbacks += [
            ThroughputMonitor(),
            CollapseMonitor(),
            FailureMonitor(folder / "failed_samples.csv"),
            ProgressBar(stream=io.StringIO()),
        ]
    logger = {None: False, "self.log": CSVLogger(folder), "scalars": MetricsCSV(folder / "metrics.csv")}[log]
    clock = Clock()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=50,
        logger=logger,
        callbacks=[*callbacks, clock],
        enable_checkpointing=False,
        enable_progress_bar=monitors,
        enable_model_summary=False,
    )
    trainer.fit(Model(log), DataLoader(Batches(steps), batch_size=None))
    return clock.seconds


RUNS = {
    "plain PyTorch loop": plain_loop,
    "Lightning, bare": lightning_loop,
    "Lightning, 4 x self.log": lambda steps, folder: lightning_loop(steps, folder, "self.log"),
    "eztorch, 4 scalars": lambda steps, folder: lightning_loop(steps, folder, "scalars"),
    "eztorch, all monitors": lambda steps, folder: lightning_loop(steps, folder, "scalars", monitors=True),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    milliseconds: dict[str, list[float]] = {name: [] for name in RUNS}
    names = list(RUNS)
    for number in range(arguments.rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with tempfile.TemporaryDirectory() as folder:
                seconds = RUNS[name](arguments.steps, Path(folder))
            if number:  # the first round warms up
                milliseconds[name].append(1000 * seconds / arguments.steps)
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    plain, bare = medians["plain PyTorch loop"], medians["Lightning, bare"]
    print(f"{'':24} {'ms/step':>8} {'overhead':>9} {'x bare':>7}")
    for name, value in medians.items():
        ratio = f"{(value - plain) / (bare - plain):7.2f}" if value != plain else ""
        print(f"{name:24} {value:8.3f} {value - plain:9.3f} {ratio}")
    ratio = (medians["eztorch, 4 scalars"] - plain) / (bare - plain)
    print(f"ratio: {ratio:.2f} (goal: at most {GOAL})")


if __name__ == "__main__":
    main()
