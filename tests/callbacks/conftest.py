"""Makes `tiny_run` importable, which the tests here and the processes that they start share, and expects warnings."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

EXPECTED = (
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning 2.6 on torch 2.15
    "ignore:.*does not have many workers",  # the data is in memory
    "ignore:.*is smaller than the logging interval",  # so are epochs in tests
    "ignore:The `srun` command is available",  # where SLURM is installed
    "ignore:Checkpoint directory .* exists and is not empty",  # a run that continues
)


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            for warning in EXPECTED:
                item.add_marker(pytest.mark.filterwarnings(warning))
