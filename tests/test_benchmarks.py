"""Benchmarks run: what they measure is nobody's test, but one that has broken measures nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHORT = {
    "augment": "--repetitions 1",
    "cli_help": "--repetitions 1",
    "decode": "--quick",
    "ema": "--repetitions 1",
    "frame_folders": "--quick",
    "lars": "--repetitions 1",
    "loader": "--quick",
    "queue_loss": "--repetitions 1 --batch 4 --queue 64 --dim 8",
    "resident_images": "--images 64 --batch-size 32 --workers 1 --rounds 1",
    "step_overhead": "--steps 10 --rounds 1",
    "trunks": "--networks slow_r50 --repetitions 1 --batch 1",
}
TAKES_LONG = {"augment", "decode", "frame_folders", "loader", "trunks"}


def test_every_benchmark_is_run_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == SHORT.keys()


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] * (one in TAKES_LONG)) for one in SHORT])
def test_benchmark__measures_against_its_goal(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), *SHORT[name].split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "goal" in done.stdout
