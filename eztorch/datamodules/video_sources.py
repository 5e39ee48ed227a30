"""Where the videos of a split are listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eztorch.datamodules.sources import data_folder
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose, nearest

_KEYS = ("datadir", "video_path_prefix", "subset", "video_id_to_label")


class VideoSource(NamedTuple):
    """Where the videos of a split are listed.

    Attributes:
        path: The file or folder.
        prefix: What its paths start from.
        subset: Which of its lists.
        key: The configuration key that says so, for messages.
    """

    path: Path
    prefix: str
    subset: str
    key: str


@dataclass(frozen=True, kw_only=True)
class VideoSources:
    """What a datamodule of videos says of all its splits; see `VideoBaseDataModule`.

    Args:
        datadir: Folder of the data.
        video_path_prefix: What paths start from, default of the splits.
        subsets: The subset of each split.
        choices: The subsets that there are; empty where any folder is one.
        lists: Folder of the official lists in `datadir`; None where there are none.
        media: Folder of the videos in `datadir` that the official lists start from.
    """

    datadir: str | Path | None
    video_path_prefix: str | Path
    subsets: Mapping[str, str]
    choices: tuple[str, ...]
    lists: str | None
    media: str

    def find(self, split: str, dataset: Mapping[str, Any], specs: Mapping[str, Any]) -> VideoSource:
        """Return where the videos of a split are listed.

        Args:
            split: The split.
            dataset: The mapping that says where they are.
            specs: The mappings of all splits: a test split of which nothing is said is that of val.

        Raises:
            ConfigError: A key or a subset is not known, or it is not said where they are.
            DataError: The folder of the data is not there.
        """
        for name in dataset:
            if name not in _KEYS:
                close = nearest(str(name), _KEYS) or " or ".join(_KEYS)
                raise ConfigError(f"datamodule.{split}.dataset.{name}: unknown key. Did you mean {close}?")
        if split == "test" and not dataset and "val" in specs:
            split, (dataset, *others) = "val", described(specs["val"])
            if others:
                raise ConfigError("datamodule.test.dataset is missing, and val has several: which of them is not said.")
        own: str | Path = dataset.get("datadir") or ""
        folder = data_folder(self.datadir, split) if self.datadir is not None or not own else None
        subset = str(dataset.get("subset") or self.subsets[split])
        if self.choices:
            choose(dict.fromkeys(self.choices), subset, f"datamodule.{split}.dataset.subset")
        prefix = dataset.get("video_path_prefix") or self.video_path_prefix
        if not prefix and self.media and folder is not None:
            prefix = folder / self.media
        if folder is None or own:
            return VideoSource(Path(own), str(prefix), subset, f"datamodule.{split}.dataset.datadir")
        name = subset if self.lists is None else self.lists
        return VideoSource(folder / name, str(prefix), subset, f"datamodule.datadir (dir.data), folder {name}")


def described(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the mappings that say where a split is, each with our keys alone."""
    dataset = spec.get("dataset") or {}
    given = [dataset] if isinstance(dataset, Mapping) else dataset
    return [{key: one[key] for key in _KEYS if key in one} for one in given]
