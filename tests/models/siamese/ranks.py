"""One rank of the two-process tests: fits SCE in several settings through Lightning's DDP and saves what came out.

Started as `python ranks.py <folder>` once a rank, with RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set;
imported by the test for the run in one process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from eztorch.models.siamese import SCEModel

GLOBAL_BATCH, STEPS = 8, 5
# The queue is written round more than once, and never in whole batches.
SETTINGS: dict[str, dict[str, Any]] = {
    "symmetric": {"sym": True, "use_keys": True, "queue": {"size": 44, "feature_dim": 4}},
    "shuffled, accumulated, in patches": {
        "sym": True,
        "shuffle_bn": True,
        "accumulate": 2,
        "num_local_crops": 1,
        "num_splits": 2,
        "mutual_pass": True,
        "queue": {"size": 30, "feature_dim": 4},
    },
    "asymmetric without a queue": {"sym": False, "use_keys": True, "normalize_outputs": False},
}


class Views(Dataset):
    def __init__(self, number: int) -> None:
        self.views = torch.randn(number, 80, 3, 4, 4, generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return self.views.shape[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": list(self.views[:, index])}


class Strided(Sampler[int]):
    """Rank r of R takes perm[r::R]."""

    def __init__(self, length: int, rank: int, world: int) -> None:
        self.indices = torch.randperm(length, generator=torch.Generator().manual_seed(7))[rank::world].tolist()

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.values.append(outputs["scalars"]["pretrain/loss"].item())


def _sgd(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.SGD(model.learnable_params, lr=0.1, momentum=0.9), None


def fit(keys: dict[str, Any], rank: int, world: int) -> dict[str, Any]:
    """Fit for `STEPS` optimizer steps; networks have no batch statistics, so the number of processes is no matter."""
    keys = dict(keys)
    accumulate = keys.pop("accumulate", 1)
    torch.manual_seed(0)
    single = {"simulate_n_devices": 2} if world == 1 else {}
    model = SCEModel(
        trunk=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 16), nn.LayerNorm(16), nn.ReLU()),
        projector=nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)),
        predictor=nn.Linear(4, 4),
        optimizer=_sgd,
        scheduler_momentum="cosine",
        initial_momentum=0.7,
        **{"shuffle_bn": False, **keys, **single},
    )
    data = Views(2 + keys.get("num_local_crops", 0))
    loader = DataLoader(data, batch_size=GLOBAL_BATCH // world, sampler=Strided(len(data), rank, world))
    losses = Losses()
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy=DDPStrategy(process_group_backend="gloo", broadcast_buffers=False) if world > 1 else "auto",
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        limit_train_batches=STEPS * accumulate,
        max_epochs=1,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    return {"losses": losses.values, "steps": trainer.global_step, "state": model.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    this, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    results = {name: fit(keys, this, world_size) for name, keys in SETTINGS.items()}
    torch.save(results, Path(sys.argv[1]) / f"{this}.pt")
