"""A rehearsal of a training: everything up to its first steps, on the data and devices of the real one, nothing kept.

A job that waits for days in a queue should not end at its first checkpoint, or at the test behind its last epoch, over
something that could be known before.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from eztorch.engine.environment import say
from eztorch.engine.job import JobSpec, unwritable_told
from eztorch.engine.resume import find_checkpoint
from eztorch.utils.config import is_spec, locate
from eztorch.utils.errors import ConfigError

TASKS = ("pretrain", "supervised", "linear_classifier_evaluation")
_STEPS, _EVALUATED_BATCHES = 4, 2
# They would keep the training from ending after a few steps.
_LEFT_OUT = ("min_epochs", "min_steps", "max_time", "check_val_every_n_epoch", "val_check_interval")


@contextmanager
def rehearsal(job: JobSpec) -> Iterator[JobSpec]:
    """Give the rehearsal of a job, in a folder that exists as long as the block, and tell that it went well.

    It trains a few steps of the first epoch, or of the one that the run directory stands at, with the schedules of the
    whole training; validates, and tests where there is a test split, on a few batches; and writes a checkpoint.
    Callbacks that go over the whole data are left out.

    Raises:
        ConfigError: The task is no training, or the run directory cannot be written.
    """
    if job.info.task not in TASKS:
        raise ConfigError(f"--dry-run rehearses a training: {', '.join(TASKS)}. eztorch {job.info.task} has no steps.")
    with unwritable_told(job.run_dir):
        folders = (job.run_dir, *job.run_dir.parents)
        tempfile.TemporaryFile(dir=next(folder for folder in folders if folder.exists())).close()
    with tempfile.TemporaryDirectory(prefix="eztorch-dry-run-") as folder:
        run_dir = Path(folder) / job.run_dir.name
        yield replace(job, config=_shortened(job, run_dir), run_dir=run_dir)
        checkpoints = {path.stat().st_size for path in run_dir.rglob("*.ckpt")}
        if checkpoints:
            say(f"checkpoints of {max(checkpoints) / 1e6:.0f} MB would lie in {job.run_dir}")
    say("The rehearsal went well. Nothing of it was kept.")


def _shortened(job: JobSpec, run_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = _moved(job.config, str(job.run_dir), str(run_dir))
    checkpoint = find_checkpoint(job.config.get("ckpt_path"), job.run_dir)
    trainer = {key: value for key, value in config["trainer"].items() if key not in _LEFT_OUT}
    for key in ("limit_val_batches", "limit_test_batches"):
        trainer[key] = min(trainer.get(key, _EVALUATED_BATCHES), _EVALUATED_BATCHES)
    callbacks = {name: spec for name, spec in (config.get("callbacks") or {}).items() if not _goes_over_all(name, spec)}
    return {
        **config,
        "trainer": {**trainer, "num_sanity_val_steps": 0},
        "callbacks": {**callbacks, "rehearsal": {"_target_": "eztorch.callbacks.Rehearsal", "steps": _STEPS}},
        "ckpt_path": None if checkpoint is None else str(checkpoint),
        "test": {**(config.get("test") or {}), "ckpt_path": None},
        "logger": {},
        "report": False,
    }


def _goes_over_all(name: str, spec: Any) -> bool:
    """Say whether a callback goes over whole splits of the data by itself."""
    if not is_spec(spec) or not getattr(locate(str(spec["_target_"])), "goes_over_all_data", False):
        return False
    say(f"callbacks.{name} is not rehearsed: it goes over all data.")
    return True


def _moved(value: Any, old: str, new: str) -> Any:
    """Return a configuration with everything that lies in one folder in another one instead."""
    if isinstance(value, Mapping):
        return {key: _moved(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_moved(one, old, new) for one in value]
    inside = isinstance(value, str) and (value == old or value.startswith(old + os.sep))
    return new + value[len(old) :] if inside else value
