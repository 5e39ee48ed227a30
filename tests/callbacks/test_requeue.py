import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tiny_run import fit

from eztorch.callbacks import Requeue
from eztorch.utils.distributed import rank


class Signal(Callback):
    """Sends the signal of SLURM in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A SLURM job 7, whose `scontrol` writes down what it is asked for."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "asked.txt"}\nexit ${{STATUS:-0}}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    yield tmp_path
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_requeue__goes_on_after_the_whole_step(job):
    whole = fit(job, [])
    with pytest.raises(SIGTERMException):
        fit(job, [Requeue(job / "last.ckpt"), Signal(step=3)], enable_checkpointing=True)
    assert (job / "asked.txt").read_text() == "requeue 7\n"
    assert torch.load(job / "last.ckpt", weights_only=False)["global_step"] == 4
    resumed = fit(job, [], ckpt_path=job / "last.ckpt")
    torch.testing.assert_close(resumed.module.state_dict(), whole.module.state_dict(), rtol=0, atol=0)


def test_requeue__waits_for_the_step_that_accumulates_gradients(job):
    with pytest.raises(SIGTERMException):
        fit(job, [Requeue(job / "last.ckpt"), Signal(step=0)], enable_checkpointing=True, accumulate_grad_batches=2)
    assert torch.load(job / "last.ckpt", weights_only=False)["global_step"] == 1


def test_requeue__is_named_after_its_array_and_says_when_slurm_refuses(job, monkeypatch):
    monkeypatch.setenv("STATUS", "1")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    with pytest.warns(UserWarning, match="The job 5_2 could not be requeued"), pytest.raises(SIGTERMException):
        fit(job, [Requeue(job / "last.ckpt"), Signal(step=0)], enable_checkpointing=True)
    assert (job / "last.ckpt").exists()


def test_requeue__leaves_the_signal_alone_elsewhere(job, monkeypatch):
    caught = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    try:
        fit(job, [Requeue(job / "last.ckpt"), Signal(step=0)], enable_checkpointing=True)
        monkeypatch.delenv("SLURM_JOB_ID")
        fit(job, [Requeue(job / "last.ckpt"), Signal(step=0)], enable_checkpointing=True)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(caught) == 2
    assert not (job / "last.ckpt").exists()


def test_requeue__of_two_processes_when_one_hears_of_it(job, run_program):
    run_program(Path(__file__), job)
    found = [torch.load(job / f"{rank}.pt") for rank in range(2)]
    assert found == [2, 2]  # steps; told of in the first, known to both in the second
    assert torch.load(job / "last.ckpt", weights_only=False)["global_step"] == 2
    assert (job / "asked.txt").read_text() == "requeue 7\n"


if __name__ == "__main__":  # each of the two processes
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    told = [Signal(step=0)] if os.environ["RANK"] == "1" else []
    callbacks = [Requeue(folder / "last.ckpt"), *told]
    try:
        fit(folder, callbacks, enable_checkpointing=True, devices=2, strategy="ddp")
    except SIGTERMException:
        torch.save(torch.load(folder / "last.ckpt", weights_only=False)["global_step"], folder / f"{rank()}.pt")
    torch.distributed.destroy_process_group()
