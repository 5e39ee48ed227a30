"""Kinetics (Kay et al., arXiv 1705.06950) and its larger and smaller editions."""

from __future__ import annotations

from eztorch.datamodules.video import VideoBaseDataModule


class Kinetics200DataModule(VideoBaseDataModule):
    """Mini-Kinetics, 200 classes (Xie et al., arXiv 1712.04851); keys as in `VideoBaseDataModule`."""

    num_classes = 200


class Kinetics400DataModule(VideoBaseDataModule):
    """Kinetics-400 (arXiv 1705.06950); keys as in `VideoBaseDataModule`."""

    num_classes = 400


class Kinetics600DataModule(VideoBaseDataModule):
    """Kinetics-600 (Carreira et al., arXiv 1808.01340); keys as in `VideoBaseDataModule`."""

    num_classes = 600


class Kinetics700DataModule(VideoBaseDataModule):
    """Kinetics-700 (Carreira et al., arXiv 1907.06987); keys as in `VideoBaseDataModule`."""

    num_classes = 700
