"""The data sets of action recognition that have official lists, each a few lines over `VideoBaseDataModule`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from typing_extensions import Unpack

from eztorch.datamodules.video import VideoBaseDataModule, VideoKeys
from eztorch.datasets.annotations import Annotation
from eztorch.datasets.annotations.action_lists import read_hmdb51, read_ucf101
from eztorch.datasets.annotations.cater import TASKS, read_cater
from eztorch.datasets.annotations.diving48 import read_diving48
from eztorch.datasets.annotations.epic_kitchens import NUM_CLASSES, read_epic_kitchens
from eztorch.datasets.annotations.something import read_something_v1, read_something_v2
from eztorch.utils.names import choose


class Ucf101DataModule(VideoBaseDataModule):
    """UCF101 (Soomro et al., arXiv 1212.0402) by its official splits; val and test are the official test list.

    Args:
        datadir: Folder of the data.
        split_id: Which of the official splits, 1 to 3.
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: As in `VideoBaseDataModule`.
    """

    num_classes = 101
    subsets: ClassVar = {"train": "train", "val": "test", "test": "test"}
    choices = ("train", "test")
    lists = "ucfTrainTestlist"
    media = "UCF-101"

    def __init__(self, datadir: str | Path | None = None, *, split_id: int = 1, **shared: Unpack[VideoKeys]) -> None:
        super().__init__(datadir, **shared)
        self.split_id = split_id

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official list; see `read_ucf101`."""
        return read_ucf101(folder, subset, self.split_id)


class Hmdb51DataModule(VideoBaseDataModule):
    """HMDB51 (Kuehne et al., ICCV 2011) by its official splits; val and test are the official test list.

    Args:
        datadir: Folder of the data.
        split_id: Which of the official splits, 1 to 3.
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: As in `VideoBaseDataModule`.
    """

    num_classes = 51
    subsets: ClassVar = {"train": "train", "val": "test", "test": "test"}
    choices = ("train", "test", "unused")
    lists = "testTrainMulti_7030_splits"
    media = "hmdb51_org"

    def __init__(self, datadir: str | Path | None = None, *, split_id: int = 1, **shared: Unpack[VideoKeys]) -> None:
        super().__init__(datadir, **shared)
        self.split_id = split_id

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official split; see `read_hmdb51`."""
        return read_hmdb51(folder, subset, self.split_id)


class SomethingSomethingV1DataModule(VideoBaseDataModule):
    """Something-Something v1 (Goyal et al., arXiv 1706.04261), folders of frames; keys as in `VideoBaseDataModule`."""

    num_classes = 174
    subsets: ClassVar = {"train": "train", "val": "validation", "test": "validation"}
    choices = ("train", "validation", "test")
    lists = "annotations"
    media = "20bn-something-something-v1"

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official list; see `read_something_v1`."""
        return read_something_v1(folder, subset)


class SomethingSomethingV2DataModule(VideoBaseDataModule):
    """Something-Something v2 (Goyal et al., arXiv 1706.04261), WebM videos; keys as in `VideoBaseDataModule`."""

    num_classes = 174
    subsets: ClassVar = {"train": "train", "val": "validation", "test": "validation"}
    choices = ("train", "validation", "test")
    lists = "labels"
    media = "20bn-something-something-v2"

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official list; see `read_something_v2`."""
        return read_something_v2(folder, subset)


class Diving48DataModule(VideoBaseDataModule):
    """Diving48 (Li et al., ECCV 2018); val and test are the official test list.

    Args:
        datadir: Folder of the data.
        version: 1, or 2 for the corrected labels of 2020.
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: As in `VideoBaseDataModule`.
    """

    num_classes = 48
    subsets: ClassVar = {"train": "train", "val": "test", "test": "test"}
    choices = ("train", "test")
    lists = "annotations"
    media = "rgb"

    def __init__(self, datadir: str | Path | None = None, *, version: int = 2, **shared: Unpack[VideoKeys]) -> None:
        super().__init__(datadir, **shared)
        self.version = version

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official list; see `read_diving48`."""
        return read_diving48(folder, subset, self.version)


class EpicKitchens55DataModule(VideoBaseDataModule):
    """EPIC-Kitchens-55 (Damen et al., arXiv 1804.02748); a sample has `verb` and `noun` besides `label`.

    The labels of the official test sets are not public, so the videos of some participants of the training list are
    kept for validation: by default those of P26 to P31, the split that is common in the field.

    Args:
        datadir: Folder of the data.
        task: Which target is the label: `verb` (125 classes) or `noun` (352).
        val_participants: Whose videos are the subset `val`; `train` are those of all others.
        frame_stride: Frames of the annotation to one picture, where videos are folders of pictures; 2 for the official
            optical flow.
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: The task is neither, a participant is none, or as in `VideoBaseDataModule`.
    """

    choices = ("train", "val", "all")
    lists = "annotations"
    media = "videos/train"
    target_classes: ClassVar[Mapping[str, int]] = NUM_CLASSES

    def __init__(
        self,
        datadir: str | Path | None = None,
        *,
        task: str = "verb",
        val_participants: Collection[str] = ("P26", "P27", "P28", "P29", "P30", "P31"),
        frame_stride: int = 1,
        **shared: Unpack[VideoKeys],
    ) -> None:
        super().__init__(datadir, **shared)
        everyone = dict.fromkeys(f"P{number:02d}" for number in range(1, 33))
        for participant in val_participants:
            choose(everyone, participant, "datamodule.val_participants")
        self.num_classes = choose(NUM_CLASSES, task, "datamodule.task")
        self.task = task
        self.frame_stride = frame_stride
        val = set(val_participants)
        self.participants = {"train": everyone.keys() - val, "val": val, "all": everyone.keys()}

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read the official list; see `read_epic_kitchens`."""
        return read_epic_kitchens(
            folder,
            self.task,
            self.participants[subset],
            frame_folders=bool(frame_folders),
            frame_stride=self.frame_stride,
        )


class CaterDataModule(VideoBaseDataModule):
    """CATER (Girdhar and Ramanan, arXiv 1910.04744).

    Args:
        datadir: Folder of the data.
        task: 1, atomic actions (14 labels, a video has several); 2, pairs of actions (301, several); 3, where the
            snitch is at the end (36 classes).
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: There is no such task, or as in `VideoBaseDataModule`.
    """

    choices = ("train", "val", "train_subsetT", "train_subsetV")
    lists = "lists"
    media = "videos"

    def __init__(self, datadir: str | Path | None = None, *, task: int = 1, **shared: Unpack[VideoKeys]) -> None:
        super().__init__(datadir, **shared)
        self.num_classes = choose({str(key): value[1] for key, value in TASKS.items()}, str(task), "datamodule.task")
        self.task = int(task)

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read an official list; see `read_cater`."""
        return read_cater(folder, subset, self.task)
