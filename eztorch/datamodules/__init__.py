"""LightningDataModules: from the `datamodule` section of a configuration to loaders."""

from eztorch.datamodules.base import BaseDataModule
from eztorch.datamodules.kinetics import (
    Kinetics200DataModule,
    Kinetics400DataModule,
    Kinetics600DataModule,
    Kinetics700DataModule,
)
from eztorch.datamodules.random import DumbDataModule, RandomDataModule
from eztorch.datamodules.video import VideoBaseDataModule, VideoDataModule

__all__ = [
    "BaseDataModule",
    "DumbDataModule",
    "Kinetics200DataModule",
    "Kinetics400DataModule",
    "Kinetics600DataModule",
    "Kinetics700DataModule",
    "RandomDataModule",
    "VideoBaseDataModule",
    "VideoDataModule",
]
