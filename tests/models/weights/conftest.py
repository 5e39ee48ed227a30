"""Makes `foreign_libraries` importable, which a test and the process that it starts share, and seeds what is drawn."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
