"""A tiny module and data that obey the contracts, and short fits of them on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

torch.set_num_threads(1)


class TinyModule(LightningModule):
    """A trunk with batch statistics whose training step returns what the contract says."""

    chance_level = 2.0

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6))
        self.projector = nn.Linear(6, 4)
        self.train_transform = None
        self.lr = lr

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        h = self.trunk(batch["input"])
        z = self.projector(h)
        loss = (z - batch["label"].clamp_min(0)[:, None]).pow(2).mean()
        scalars = {"pretrain/loss": loss.detach(), "pretrain/temp": 0.1 * (1 + self.global_step)}
        return {"loss": loss, "scalars": scalars, "h": h.detach(), "z": z.detach()}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any] | None:
        if batch["input"] is None:
            return None
        return {"h": self.trunk(batch["input"])}

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Samples(Dataset):
    """Two classes of points, apart along one axis; sample 0 has no label when `unlabelled`."""

    def __init__(self, length: int, seed: int, unlabelled: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(length) % 2
        self.inputs = torch.randn(length, 8, generator=generator)
        self.inputs[:, 0] += 6.0 * self.labels
        if unlabelled:
            self.labels[0] = -1

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": self.inputs[index], "label": self.labels[index], "idx": index}


class Shard(Sampler):
    """`range(rank, n, world)`: nothing padded, nothing dropped."""

    def __init__(self, length: int) -> None:
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.length = length

    def __iter__(self) -> Any:
        return iter(range(self.rank, self.length, self.world))

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.world))


class TinyData(LightningDataModule):
    """Samples in batches of four (divided among the ranks)."""

    num_classes = 2

    def __init__(self, train: int = 16, val: int = 7, unlabelled: bool = False, collate: Any = None) -> None:
        super().__init__()
        self.datasets = {"train": Samples(train, 0, unlabelled), "val": Samples(val, 1, unlabelled)}
        self.collate = collate

    def feature_dataloader(self, split: str) -> DataLoader:
        dataset = self.datasets[split]
        world = int(os.environ.get("WORLD_SIZE", 1))
        return DataLoader(dataset, 4 // world, sampler=Shard(len(dataset)), collate_fn=self.collate)

    def train_dataloader(self) -> DataLoader:
        return self.feature_dataloader("train")

    def val_dataloader(self) -> DataLoader:
        return self.feature_dataloader("val")

    test_dataloader = val_dataloader


def make_trainer(path: Path, callbacks: list[Callback], **options: Any) -> Trainer:
    """A trainer that shows nothing and saves nothing of itself."""
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "log_every_n_steps": 2,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "default_root_dir": str(path),
    }
    return Trainer(**{**defaults, **options}, callbacks=callbacks)


def fit(path: Path, callbacks: list[Callback], **options: Any) -> SimpleNamespace:
    """Seed, fit the tiny module (`module`, `data` and `ckpt_path` may be given), return trainer, module and data."""
    seed_everything(7, verbose=False)
    module, data = options.pop("module", None) or TinyModule(), options.pop("data", None) or TinyData()
    ckpt_path = options.pop("ckpt_path", None)
    trainer = make_trainer(path, callbacks, **options)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return SimpleNamespace(trainer=trainer, module=module, data=data)
