"""Makes `tiny_classifier` importable, which the tests here and the processes that they start share."""

import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope="session")
def evaluations(run_program, tmp_path_factory):
    """What each of two processes found, see two_evaluating_processes.py."""
    folder = tmp_path_factory.mktemp("ranks")
    run_program(FOLDER / "two_evaluating_processes.py", folder)
    results = [torch.load(folder / f"{rank}.pt") for rank in range(2)]
    return [{**result, "folder": folder} for result in results]
