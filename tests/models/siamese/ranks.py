"""One rank of the two-process tests: fits every method through Lightning's DDP and saves what came out.

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
from torch.utils.data import DataLoader, Dataset, Sampler

sys.path.insert(0, str(Path(__file__).parent))
from methods import METHODS, make

GLOBAL_BATCH, STEPS = 8, 5
# Method and further keys; every method by itself, and what is particular.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "sce shuffled, accumulated, in patches": (
        "sce",
        {
            "use_keys": False,
            "shuffle_bn": True,
            "accumulate": 2,
            "num_local_crops": 1,
            "num_splits": 2,
            "mutual_pass": True,
            "queue": {"size": 30, "feature_dim": 4},
        },
    ),
    "sce asymmetric without a queue": ("sce", {"sym": False, "queue": None, "normalize_outputs": False}),
}
# Every method again, with the activations of three samples at a time: nothing else may change.
SETTINGS |= {
    f"{name}, cached": (method, {**keys, "gradient_cache_size": 3}) for name, (method, keys) in SETTINGS.items()
}
# Where a method has a moving average, these make it move.
_MOVING = {"scheduler_momentum": "cosine", "initial_momentum": 0.7}


class Views(Dataset):
    def __init__(self, number: int) -> None:
        self.views = torch.randn(number, 80, 3, 4, 4, generator=torch.Generator().manual_seed(5))

    def __len__(self) -> int:
        return self.views.shape[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": list(self.views[:, index]), "label": index % 3}


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


def fit(name: str, rank: int, world: int) -> dict[str, Any]:
    """Fit for `STEPS` optimizer steps; networks have no batch statistics, so the number of processes is no matter."""
    method, keys = SETTINGS[name]
    keys = dict(keys)
    accumulate = keys.pop("accumulate", 1)
    if keys.get("shuffle_bn") and world == 1:
        keys["simulate_n_devices"] = 2
    model = make(method, **keys)
    if model.branch is not None:
        model = make(method, **keys, **_MOVING)
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
    results = {name: fit(name, this, world_size) for name in SETTINGS}
    torch.save(results, Path(sys.argv[1]) / f"{this}.pt")
