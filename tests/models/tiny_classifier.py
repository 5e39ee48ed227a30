"""A classifier of seconds over data in memory, for the tests here and the processes that they start."""

from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from eztorch.callbacks import PredictionWriter
from eztorch.datasets.collate import collate
from eztorch.datasets.loader_samplers import SampleAddress, ShardSampler
from eztorch.models import SupervisedModel
from eztorch.utils.distributed import rank, world_size

CLASSES = 6
OPTIMIZER = {
    "_target_": "eztorch.optimizers.optimizer_factory",
    "name": "sgd",
    "initial_lr": 0.5,
    "params": {"momentum": 0.9},
    "scheduler": {
        "_target_": "eztorch.schedulers.scheduler_factory",
        "name": "linear_warmup_cosine_annealing_lr",
        "params": {"max_epochs": 3, "warmup_epochs": 0.5},
        "interval": "step",
    },
}


class Clips(Dataset):
    """Clips (1, 2, 2, 2) whose mean tells their class, `views` clips to a video, one sample each."""

    def __init__(self, videos: int, views: int = 1) -> None:
        generator = torch.Generator().manual_seed(videos)
        self.labels = torch.arange(videos).remainder(CLASSES).tolist()
        self.clips = 0.3 * torch.randn(videos, views, 1, 2, 2, 2, generator=generator)
        self.clips += torch.tensor(self.labels).view(-1, 1, 1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, address: SampleAddress | int) -> list[dict[str, object]]:
        video = address if isinstance(address, int) else address.index
        return [
            {"input": clip, "label": self.labels[video], "idx": video, "video_name": f"video_{video}.mp4"}
            for clip in self.clips[video]
        ]


class Data(LightningDataModule):
    """Clips of 24 videos to train on, and of 13 to evaluate with 3 views each."""

    def __init__(self) -> None:
        super().__init__()
        self.train, self.val = Clips(24), Clips(13, views=3)
        self.val_num_samples = self.test_num_samples = len(self.val)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, batch_size=8, collate_fn=collate)

    def val_dataloader(self) -> DataLoader:
        sampler = ShardSampler(len(self.val), rank=rank(), world=world_size())
        return DataLoader(self.val, batch_size=2, sampler=sampler, collate_fn=collate)

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()


class Views(Dataset):
    """The clips of some videos, each a sample by itself, so that those of a video are in several batches and ranks."""

    def __init__(self, videos: int, views: int) -> None:
        self.videos, self.views = Clips(videos, views), views

    def __len__(self) -> int:
        return len(self.videos) * self.views

    def __getitem__(self, address: SampleAddress | int) -> dict[str, object]:
        index = address if isinstance(address, int) else address.index
        view, video = divmod(index, len(self.videos))
        return {**self.videos[video][view], "clip_index": view, "aug_index": 0}


class ViewData(LightningDataModule):
    """A test split of videos whose views are samples."""

    def __init__(self, videos: int, views: int) -> None:
        super().__init__()
        self.test, self.test_num_samples = Views(videos, views), videos

    def test_dataloader(self) -> DataLoader:
        sampler = ShardSampler(len(self.test), rank=rank(), world=world_size())
        return DataLoader(self.test, batch_size=2, sampler=sampler, collate_fn=collate)


def predict(folder: Path, videos: int, **options) -> dict[str, float]:
    """Test a classifier on the views of some videos, whose predictions are written; return its metrics."""
    trainer = make_trainer(callbacks=[PredictionWriter(folder, views=True)], **options)
    model = make_model(test_time_augmentation={"name": "avg_group"})
    trainer.test(model, datamodule=ViewData(videos, 5), verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def make_model(**options) -> SupervisedModel:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    return SupervisedModel(**{"model": network, "optimizer": OPTIMIZER, **options})


def make_trainer(**options) -> Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(
        **{"accelerator": "cpu", "devices": 1, "max_epochs": 3, "num_sanity_val_steps": 0, **quiet, **options}
    )


def validate(name: str | None, **options) -> dict[str, float]:
    augmentation = None if name is None else {"name": name}
    (values,) = make_trainer(**options).validate(
        make_model(val_time_augmentation=augmentation), datamodule=Data(), verbose=False
    )
    return values
