"""Makes `tiny_classifier` importable, which the tests here and the processes that they start share."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope="session")
def evaluations(tmp_path_factory):
    """What each of two processes found, see two_evaluating_processes.py."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = FOLDER / "two_evaluating_processes.py"
    done = subprocess.run([*command, program, folder], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    results = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    return [{**result, "folder": folder} for result in results]
