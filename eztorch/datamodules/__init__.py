"""LightningDataModules: from the `datamodule` section of a configuration to loaders."""

from eztorch.datamodules.base import BaseDataModule
from eztorch.datamodules.kinetics import (
    Kinetics200DataModule,
    Kinetics400DataModule,
    Kinetics600DataModule,
    Kinetics700DataModule,
)
from eztorch.datamodules.moving_digits import MovingDigitsDataModule
from eztorch.datamodules.random import DumbDataModule, RandomDataModule
from eztorch.datamodules.video import VideoBaseDataModule, VideoDataModule

__all__ = [
    "BaseDataModule",
    "DumbDataModule",
    "Kinetics200DataModule",
    "Kinetics400DataModule",
    "Kinetics600DataModule",
    "Kinetics700DataModule",
    "MovingDigitsDataModule",
    "RandomDataModule",
    "VideoBaseDataModule",
    "VideoDataModule",
]
