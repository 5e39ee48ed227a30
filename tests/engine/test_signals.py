from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from eztorch.engine.signals import ended_from_outside

WORKER = "DataLoader worker (pid 3) is killed by signal: Terminated. "


@pytest.fixture
def run_dir(tmp_path, caplog):
    caplog.set_level(logging.INFO, "eztorch")
    (tmp_path / "last.ckpt").touch()
    return tmp_path


@pytest.mark.parametrize("error", [SIGTERMException(), RuntimeError(WORKER)])
def test_ended_from_outside__a_terminated_job_is_no_success_and_says_from_where_it_goes_on(run_dir, caplog, error):
    trainer = SimpleNamespace(received_sigterm=True)
    with pytest.raises(SystemExit) as stop, ended_from_outside(trainer, run_dir):
        raise error
    assert stop.value.code == 143
    assert caplog.messages == [f"Terminated. The same command goes on from {run_dir / 'last.ckpt'}."]


def test_ended_from_outside__leaves_errors_of_a_job_that_nobody_ended(run_dir, caplog):
    trainer = SimpleNamespace(received_sigterm=False)
    with pytest.raises(RuntimeError, match="worker"), ended_from_outside(trainer, run_dir):
        raise RuntimeError(WORKER)
    assert caplog.messages == []


def test_ended_from_outside__says_where_an_interrupted_job_goes_on(run_dir, caplog):
    stopped = SystemExit(1)
    stopped.__context__ = KeyboardInterrupt()  # as Lightning leaves
    with pytest.raises(SystemExit) as stop, ended_from_outside(SimpleNamespace(), run_dir):
        raise stopped
    assert stop.value.code == 1
    assert "Interrupted. The same command goes on from" in caplog.text
