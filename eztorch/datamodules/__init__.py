"""LightningDataModules: from the `datamodule` section of a configuration to loaders."""

from eztorch.datamodules.action_recognition import (
    CaterDataModule,
    Diving48DataModule,
    EpicKitchens55DataModule,
    Hmdb51DataModule,
    SomethingSomethingV1DataModule,
    SomethingSomethingV2DataModule,
    Ucf101DataModule,
)
from eztorch.datamodules.base import BaseDataModule
from eztorch.datamodules.cifar import CIFAR10DataModule, CIFAR100DataModule
from eztorch.datamodules.image import FolderDataModule, ImageBaseDataModule, ImageDataModule
from eztorch.datamodules.imagenet import Imagenet100DataModule, ImagenetDataModule, TinyImagenetDataModule
from eztorch.datamodules.kinetics import (
    Kinetics200DataModule,
    Kinetics400DataModule,
    Kinetics600DataModule,
    Kinetics700DataModule,
)
from eztorch.datamodules.moving_digits import MovingDigitsDataModule
from eztorch.datamodules.random import DumbDataModule, RandomDataModule
from eztorch.datamodules.stl10 import STL10DataModule
from eztorch.datamodules.video import VideoBaseDataModule, VideoDataModule

__all__ = [
    "BaseDataModule",
    "CIFAR10DataModule",
    "CIFAR100DataModule",
    "CaterDataModule",
    "Diving48DataModule",
    "DumbDataModule",
    "EpicKitchens55DataModule",
    "FolderDataModule",
    "Hmdb51DataModule",
    "ImageBaseDataModule",
    "ImageDataModule",
    "Imagenet100DataModule",
    "ImagenetDataModule",
    "Kinetics200DataModule",
    "Kinetics400DataModule",
    "Kinetics600DataModule",
    "Kinetics700DataModule",
    "MovingDigitsDataModule",
    "RandomDataModule",
    "STL10DataModule",
    "SomethingSomethingV1DataModule",
    "SomethingSomethingV2DataModule",
    "TinyImagenetDataModule",
    "Ucf101DataModule",
    "VideoBaseDataModule",
    "VideoDataModule",
]
