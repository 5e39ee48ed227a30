from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def clips():
    """Eight clips (B, C, T, H, W) from 0 to 1, no two frames alike."""
    return torch.rand(8, 3, 2, 12, 15, generator=torch.Generator().manual_seed(1))
