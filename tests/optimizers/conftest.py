from __future__ import annotations

import pytest
import torch
from torch import nn


class Trunk(nn.Module):
    """A trunk of two blocks that tells its layers, with a norm of every family."""

    num_layers = 3

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4))
        self.block1 = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.block2 = nn.Sequential(nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4))

    def get_param_layer_id(self, name: str) -> int:
        return {"pos_embed": 0, "block1": 1, "block2": 2}[name.split(".")[0]]


@pytest.fixture
def trunk() -> Trunk:
    return Trunk()
