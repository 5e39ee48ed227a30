"""Tiny siamese models and data for them; makes `methods` and `ranks` importable, which stand beside this file."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from eztorch.models.siamese import SCEModel

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))


class Views(Dataset):
    """Samples of several views of random numbers, each shape (3, 2, 2) unless said otherwise."""

    def __init__(self, length: int, shapes: tuple[tuple[int, ...], ...] = ((3, 2, 2), (3, 2, 2))) -> None:
        generator = torch.Generator().manual_seed(3)
        self.views = [torch.randn(length, *shape, generator=generator) for shape in shapes]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": [view[index] for view in self.views], "idx": index}


def sgd(model: Any, num_steps_per_epoch: int, lr: float = 0.1) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.SGD(model.learnable_params, lr=lr, momentum=0.9), None


def still(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    """Weights that never move: keys are then known in advance."""
    return sgd(model, num_steps_per_epoch, lr=0.0)


def tiny_model(**keys: Any) -> SCEModel:
    """SCE on networks without batch statistics."""
    torch.manual_seed(0)
    networks = {
        "trunk": nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 8), nn.Tanh()),
        "projector": nn.Linear(8, 4),
        "predictor": nn.Linear(4, 4),
    }
    defaults = {"optimizer": sgd, "queue": {"size": 24, "feature_dim": 4}, "sym": True, "shuffle_bn": False}
    return SCEModel(**{**networks, **defaults, **keys})


def reference_keys(model: SCEModel, view: Tensor) -> Tensor:
    """Keys of a view, written out."""
    with torch.no_grad():
        return nn.functional.normalize(model.target.projector(model.target.trunk(view)), dim=1)


@pytest.fixture
def tiny() -> SimpleNamespace:
    return SimpleNamespace(model=tiny_model, Views=Views, still=still, sgd=sgd, keys=reference_keys)


@pytest.fixture
def fit(tmp_path) -> Callable[..., Trainer]:
    """Fit a model on random views without a logger; returns the trainer."""

    def run(
        model: SCEModel,
        *,
        data: Dataset | None = None,
        batch_size: int = 4,
        ckpt_path: str | None = None,
        **keys: Any,
    ) -> Trainer:
        loader = DataLoader(Views(12) if data is None else data, batch_size=batch_size)
        keys = {"max_epochs": 1, "enable_checkpointing": False, **keys}
        with warnings.catch_warnings():
            # Advice on loaders without workers and on srun, which tiny tests have no use for.
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            # Lightning's loaders use a name that torch is about to take away.
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            trainer = Trainer(
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=str(tmp_path),
                **keys,
            )
            trainer.fit(model, loader, ckpt_path=ckpt_path)
        return trainer

    return run
