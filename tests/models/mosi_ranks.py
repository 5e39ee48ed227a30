"""One rank of the two-process test of MoSI: fits it through Lightning's DDP and saves what came out.

Started as `python mosi_ranks.py <folder>` once a rank by `torch.distributed.run`; imported by the tests for the model,
its data and the run in one process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Dataset

from eztorch.models import MoSIModel
from eztorch.transforms.batch import PseudoMotions

GLOBAL_BATCH, FEATURES = 4, 16


class Trunk(nn.Sequential):
    """From clips (B, 3, T, 6, 6) to features, without batch statistics: the number of processes is then no matter."""

    num_features = FEATURES

    def __init__(self) -> None:
        super().__init__(
            nn.AdaptiveAvgPool3d((4, 3, 3)), nn.Flatten(), nn.Linear(108, FEATURES), nn.LayerNorm(FEATURES), nn.ReLU()
        )


class Stills(Dataset):
    """Stills (3, 12, 12) that get brighter to the right in red, downwards in green: motion changes their brightness."""

    def __init__(self, length: int = 16) -> None:
        draws = torch.Generator().manual_seed(3)
        slope = torch.linspace(-1, 1, 12)
        stills = torch.stack([slope.expand(12, 12), slope[:, None].expand(12, 12), torch.zeros(12, 12)])
        self.stills = stills * (0.8 + 0.4 * torch.rand(length, 1, 1, 1, generator=draws))
        self.stills += 0.1 * torch.randn(length, 3, 12, 12, generator=draws)

    def __len__(self) -> int:
        return len(self.stills)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": self.stills[index], "idx": index, "label": index % 2}


class Losses(Callback):
    """Keeps the losses and what else the steps say."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.outputs: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.outputs.append(outputs)
        self.values.append(float(outputs["scalars"]["pretrain/loss"]))


def adam(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.Adam(model.learnable_params, lr=0.02), None


def make(**keys: Any) -> MoSIModel:
    torch.manual_seed(0)
    motions = PseudoMotions(6, num_frames=4, mask_ratio=(0.8, 1.0))
    return MoSIModel(**{"trunk": Trunk(), "optimizer": adam, "train_transform": motions, "dropout": 0.0, **keys})


class InTheMiddle(torch.overrides.TorchFunctionMode):
    """Draws 0.5, whoever draws: each process would draw other places for the motions of its stills."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        drawn = function(*args, **(kwargs or {}))
        return torch.full_like(drawn, 0.5) if function is torch.rand else drawn


def fit(heads: str, rank: int, world: int) -> dict[str, Any]:
    """Fit for an epoch, all motions in the middle of their stills."""
    model, losses, data = (
        make(heads=heads, train_transform=PseudoMotions(6, num_frames=4, mask_ratio=None)),
        Losses(),
        Stills(),
    )
    indices = torch.randperm(len(data), generator=torch.Generator().manual_seed(7))[rank::world].tolist()
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy=DDPStrategy(process_group_backend="gloo", broadcast_buffers=False) if world > 1 else "auto",
        use_distributed_sampler=False,
        max_epochs=1,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with InTheMiddle():
        trainer.fit(model, DataLoader(data, batch_size=GLOBAL_BATCH // world, sampler=indices))
    return {"losses": losses.values, "state": model.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    this, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    results = {heads: fit(heads, this, world_size) for heads in ("joint", "separate")}
    torch.save(results, Path(sys.argv[1]) / f"{this}.pt")
