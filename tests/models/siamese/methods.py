"""Every siamese method on tiny networks: what the tests that hold for all of them run over.

A new method is a line here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from eztorch.models import siamese

_QUEUE = {"queue": {"size": 44, "feature_dim": 4}}  # written round more than once, and never in whole batches
_NO_PREDICTOR = {"predictor": None}

# Name of the case: class and keys.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sce": ("SCEModel", {**_QUEUE, "sym": True, "use_keys": True, "shuffle_bn": False}),
    "moco": ("MoCoModel", {**_QUEUE, **_NO_PREDICTOR, "shuffle_bn": False}),
    "moco symmetric, keys of the batch": ("MoCoModel", {"sym": True, "use_keys": True, "shuffle_bn": False}),
    "mocov3": ("MoCov3Model", {}),
    "ressl": ("ReSSLModel", {**_QUEUE, "use_keys": True, **_NO_PREDICTOR, "shuffle_bn": False}),
    "byol": ("BYOLModel", {}),
    "simsiam": ("SimSiamModel", {}),
}


def sgd(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.SGD(model.learnable_params, lr=0.1, momentum=0.9), None


def make(name: str, **changes: Any) -> siamese.SiameseModel:
    """Make a method on networks without batch statistics, for views of shape (3, H, W)."""
    kind, keys = METHODS[name]
    torch.manual_seed(0)
    networks = {
        "trunk": nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 16), nn.LayerNorm(16), nn.ReLU()),
        "projector": nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)),
        "predictor": nn.Linear(4, 4),
    }
    return getattr(siamese, kind)(**{**networks, "optimizer": sgd, **keys, **changes})
