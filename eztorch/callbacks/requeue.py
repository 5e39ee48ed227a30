"""A SLURM job that is told of its time limit: saved between two steps, and put into the queue again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from eztorch.callbacks.publishing import say
from eztorch.modules import average_batch_statistics
from eztorch.utils.distributed import world_size


class Requeue(Checkpoint):
    """Saves a training and requeues its SLURM job when SIGUSR1 comes (`#SBATCH --signal=USR1@120`).

    Lightning would save inside the handler of the signal: in the middle of a step, and on several processes in the
    middle of different exchanges. Here the signal is only noted. After the next optimizer step all processes know of
    it, save together, and end; nothing of a step is lost or done twice.

    Outside of SLURM, and where the signal has a handler already, it does nothing. It is a `Checkpoint`, so that
    Lightning calls it behind the other callbacks, whose work of the step belongs to what is saved.

    Args:
        path: Where to save, `checkpoints/last.ckpt` of the run directory, from which the job goes on.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._is_asked = False  # of this process
        self._listens = False
        self._last_step = 0
        self._group: Any = None
        self._flag = torch.zeros(1)
        self._exchange: Any = None  # of the flag, on its way since the step before

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to the signal. SLURM sends it to the workers of loaders too, which start later and so do not die."""
        self._listens = "SLURM_JOB_ID" in os.environ and _is_free(signal.SIGUSR1)
        if not self._listens:
            return
        signal.signal(signal.SIGUSR1, self._note)
        if world_size() > 1:
            self._group = dist.new_group(backend="gloo")  # beside NCCL: asking does not wait for the device

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the step that the run starts or continues from."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end, where a process was told to, after a whole optimizer step."""
        if not self._listens or trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        if self._any_asked():
            self._save_and_requeue(trainer)

    def _note(self, number: int, frame: Any) -> None:
        self._is_asked = True

    def _any_asked(self) -> bool:
        """Say on every process alike whether one was told to end: with several, before the step before this one."""
        if world_size() == 1:
            return self._is_asked
        asked = False
        if self._exchange is not None:
            self._exchange.wait()
            asked = bool(self._flag)
        self._flag = torch.tensor([float(self._is_asked)])
        self._exchange = dist.all_reduce(self._flag, group=self._group, async_op=True)
        return asked

    def _save_and_requeue(self, trainer: Trainer) -> None:
        average_batch_statistics(trainer.lightning_module)  # as at the end of an epoch: one network in the file
        trainer.save_checkpoint(self._path, weights_only=False)
        say(trainer, f"SIGUSR1: saved after step {trainer.global_step} in {self._path}, from which the job goes on.")
        if trainer.is_global_zero:
            job = os.environ.get("SLURM_ARRAY_JOB_ID")
            name = f"{job}_{os.environ['SLURM_ARRAY_TASK_ID']}" if job else os.environ["SLURM_JOB_ID"]
            try:
                done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True)
                problem = done.returncode and (done.stderr.strip() or f"exit status {done.returncode}")
            except OSError as error:
                problem = str(error)
            if problem:
                rank_zero_warn(f"The job {name} could not be requeued ({problem}); submit it again.")
        raise SIGTERMException


def _is_free(number: int) -> bool:
    """Say whether nobody else answers to a signal; a callback of a fit before does not count."""
    handler = signal.getsignal(number)
    return handler is signal.SIG_DFL or isinstance(getattr(handler, "__self__", None), Requeue)
