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
_TWO_FEATURES = {"_target_": "torch.nn.Linear", "in_features": 16, "out_features": 2}
_PROTOTYPES = {"_target_": "eztorch.models.heads.PrototypeHead", "input_dim": 4, "num_prototypes": 6}
_DINO_HEAD = {
    "_target_": "eztorch.models.heads.DINOHead",
    "input_dim": 16,
    "hidden_dim": 8,
    "bottleneck_dim": 4,
    "output_dim": 6,
}
# Three tokens of four numbers from images or clips: the tests put another pooling in the first place.
_TOKENS = {
    "trunk": {
        "_target_": "torch.nn.Sequential",
        "_args_": [
            {"_target_": "torch.nn.AdaptiveAvgPool2d", "output_size": 2},
            {"_target_": "torch.nn.Flatten", "start_dim": 2},
            {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 16},
            {"_target_": "torch.nn.LayerNorm", "normalized_shape": 16},
            {"_target_": "torch.nn.ReLU"},
        ],
    }
}
_TEACHER = {
    "teacher": {
        "_target_": "torch.nn.Sequential",
        "_args_": [
            {"_target_": "torch.nn.Flatten", "start_dim": 2},
            {"_target_": "torch.nn.AdaptiveAvgPool1d", "output_size": 4},
            {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 4},
        ],
    }
}

# Four patches of an image of 4 x 4, two of which are hidden.
_IBOT = {
    "trunk": {
        "_target_": "eztorch.models.trunks.VisionTransformer",
        "patch": [2, 2],
        "embed_dim": 8,
        "depth": 1,
        "num_heads": 2,
        "pool": "token",
        "mask_token": True,
    },
    "projector": {**_DINO_HEAD, "_target_": "eztorch.models.heads.IBOTHead", "input_dim": 8},
    "mask_ratio": [0.5, 0.5],
    "mask_prob": 0.8,
    # Not as sharp as the paper's, which magnify rounding.
    "temp": 0.3,
    "temp_m": 0.2,
    "start_warmup_temp_m": 0.2,
    **_NO_PREDICTOR,
}

# Name of the case: class and keys.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sce": ("SCEModel", {**_QUEUE, "sym": True, "use_keys": True, "shuffle_bn": False}),
    "moco": ("MoCoModel", {**_QUEUE, **_NO_PREDICTOR, "shuffle_bn": False}),
    "moco symmetric, keys of the batch": ("MoCoModel", {"sym": True, "use_keys": True, "shuffle_bn": False}),
    "mocov3": ("MoCov3Model", {}),
    "ressl": ("ReSSLModel", {**_QUEUE, "use_keys": True, **_NO_PREDICTOR, "shuffle_bn": False}),
    "byol": ("BYOLModel", {}),
    "simsiam": ("SimSiamModel", {}),
    "simclr": ("SimCLRModel", _NO_PREDICTOR),
    "dcl": ("SimCLRModel", {"decoupled": True, **_NO_PREDICTOR}),
    "dclw": ("SimCLRModel", {"decoupled": True, "sigma": 0.5, **_NO_PREDICTOR}),
    "supcon": ("SupConModel", _NO_PREDICTOR),
    "barlow twins": ("BarlowTwinsModel", _NO_PREDICTOR),
    "vicreg": ("VICRegModel", {"invariance": 1.0, "variance": 1.0, "covariance": 0.04, **_NO_PREDICTOR}),
    "w-mse": ("WMSEModel", {"projector": _TWO_FEATURES, "eps": 0.5, **_NO_PREDICTOR}),
    "nnclr": ("NNCLRModel", _QUEUE),
    "swav": ("SwAVModel", {"predictor": _PROTOTYPES, "freeze_prototypes_epochs": 0}),
    "swav with a queue": (
        "SwAVModel",
        {"predictor": _PROTOTYPES, "freeze_prototypes_epochs": 0, "queue_start_epoch": 0, **_QUEUE},
    ),
    "sce on tokens": ("SCETokensModel", {**_TOKENS, **_QUEUE, "sym": True}),
    "sce on tokens, all of the batch": (
        "SCETokensModel",
        {
            **_TOKENS,
            **_QUEUE,
            "use_keys": False,
            "use_all_keys": True,
            "positive_radius": 1,
            "normalize_positive_coeff": True,
        },
    ),
    "sce distillation of tokens": (
        "SCEDistillTokensModel",
        {
            **_TOKENS,
            **_TEACHER,
            **_QUEUE,
            "num_global_crops": 2,
            "use_keys": False,
            "use_all_keys": True,
            "positive_radius": 1,
            "keep_aligned_positive": False,
        },
    ),
    "ibot": ("IBOTModel", {**_IBOT, "freeze_last_layer_epochs": 0}),
    "ibot, a head each, sinkhorn": (
        "IBOTModel",
        {
            **_IBOT,
            "projector": {**_DINO_HEAD, "_target_": "eztorch.models.heads.IBOTHead", "input_dim": 8, "shared": False},
            "centring": "sinkhorn",
            "freeze_last_layer_epochs": 0,
        },
    ),
    "dino": ("DINOModel", {"projector": _DINO_HEAD, "freeze_last_layer_epochs": 0, **_NO_PREDICTOR}),
}
# Keys that make a method take clips, where another pooling in the first place does not.
FOR_CLIPS = {name: {"trunk": {**_IBOT["trunk"], "patch": [1, 2, 2]}} for name in METHODS if name.startswith("ibot")}


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
