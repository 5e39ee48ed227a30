"""Partial batch norm in a real training with validation between its epochs."""

from __future__ import annotations

import pytest
import torch
from tiny_classifier import CLASSES, Data, make_model, make_trainer
from torch import nn

from eztorch.models.trunks import create_frame_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:Found 2 module.s. in eval mode"),  # the frozen ones
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


class Network(nn.Sequential):
    """Three normalisations over images of one channel."""

    num_features = 4

    def __init__(self) -> None:
        layers = [layer for c in (1, 4, 4) for layer in (nn.Conv2d(c, 4, 1), nn.BatchNorm2d(4))]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_partial_bn__trains_with_the_statistics_and_scales_it_began_with():
    torch.manual_seed(0)
    network = Network()
    model = make_model(model=create_frame_model(network, num_classes=CLASSES, partial_bn=True))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    make_trainer(max_epochs=2).fit(model, datamodule=Data())
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if not key.startswith(("3.", "5."))}
