"""Datamodules of labelled videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from eztorch.datamodules.base import BaseDataModule
from eztorch.datasets.annotations import LabeledVideoPaths
from eztorch.datasets.decoders import build_decoder
from eztorch.datasets.labeled_video_dataset import LabeledVideoDataset
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import nearest

_DATASET_KEYS = ("datadir", "video_path_prefix")
# Where a split without a `dataset` is: the folder of this name in `datadir`. Labels of test sets are seldom public.
_FOLDERS = {"train": "train", "val": "val", "test": "val"}


class VideoBaseDataModule(BaseDataModule):
    """Splits of labelled videos.

    Further keys of a split: `clip_sampler`; `decoder` and `decoder_args` where they differ from those of the datamodule
    (the arguments are laid over the datamodule's, unless the split names another decoder); `on_error`, `skip` or
    `raise`, see `LabeledVideoDataset`. Its `dataset` has `datadir`, a csv or json file or a folder of classes as
    `LabeledVideoPaths.from_path` reads them, and `video_path_prefix`, the folder that the paths of a file start from.
    Without them a split is the folder of its name in `datadir` (for test that of val, or what val's `dataset` says).

    Where training and evaluation are both folders, the class folders of the training set say which label is which.

    Args:
        datadir: Folder of the data.
        train: The training split.
        val: The validation split.
        test: The test split.
        video_path_prefix: Default of the splits.
        decode_audio: Must be false.
        decoder: Name of the decoder, default of the splits.
        decoder_args: Arguments of the decoder, default of the splits.

    Raises:
        ConfigError: As in `BaseDataModule`, or audio is asked for.
    """

    split_keys: ClassVar[tuple[str, ...]] = (
        *BaseDataModule.split_keys,
        "clip_sampler",
        "decoder",
        "decoder_args",
        "on_error",
    )

    def __init__(
        self,
        datadir: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        video_path_prefix: str | Path = "",
        decode_audio: bool = False,
        decoder: str = "pyav",
        decoder_args: Mapping[str, Any] | None = None,
    ) -> None:
        if decode_audio:
            raise ConfigError("datamodule.decode_audio=true: audio is not supported yet; write false or leave it out.")
        super().__init__(datadir, train, val, test)
        for split, spec in self.specs.items():
            for key in spec.get("dataset") or {}:
                if key not in _DATASET_KEYS:
                    close = nearest(str(key), _DATASET_KEYS) or " or ".join(_DATASET_KEYS)
                    raise ConfigError(f"datamodule.{split}.dataset.{key}: unknown key. Did you mean {close}?")
            if spec.get("clip_sampler") is None:
                raise ConfigError(f"datamodule.{split}.clip_sampler is missing: it says which clips a video gives.")
        self.video_path_prefix = video_path_prefix
        self.decoder = decoder
        self.decoder_args = dict(decoder_args or {})
        self._videos: dict[tuple[str, bool], LabeledVideoPaths] = {}

    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> LabeledVideoDataset:
        """Make the dataset of a split; see `BaseDataModule.make_dataset`."""
        decoder, arguments = spec.get("decoder") or self.decoder, dict(spec.get("decoder_args") or {})
        if decoder == self.decoder:
            arguments = {**self.decoder_args, **arguments}
        return LabeledVideoDataset(
            self.videos(split, frame_folders=decoder == "frame"),
            build(spec["clip_sampler"]),
            build_decoder(decoder, arguments),
            transform=build(spec.get("transform")),
            training=training,
            on_error=spec.get("on_error") or "skip",
        )

    def videos(self, split: str, *, frame_folders: bool = False) -> LabeledVideoPaths:
        """Return the videos of a split, the same at every call.

        Args:
            split: The split.
            frame_folders: Whether the videos of a folder are folders of frames.

        Raises:
            DataError: The data folder or the annotation cannot be read; the message has the key and the path.
        """
        if (split, frame_folders) not in self._videos:
            source, prefix, key = self._source(split)
            classes: tuple[str, ...] = ()
            if split != "train" and "train" in self.specs and source.is_dir() and self._source("train")[0].is_dir():
                classes = self.videos("train", frame_folders=frame_folders).classes
            try:
                self._videos[split, frame_folders] = LabeledVideoPaths.from_path(
                    source,
                    video_path_prefix=prefix,
                    num_classes=self.num_classes,
                    classes=classes,
                    frame_folders=frame_folders,
                )
            except DataError as error:
                raise DataError(f"{key}: {error}") from error
        return self._videos[split, frame_folders]

    def _source(self, split: str) -> tuple[Path, str, str]:
        """Return where a split is, the prefix of its paths, and the key that says so."""
        if split == "test" and not self.specs["test"].get("dataset") and "val" in self.specs:
            return self._source("val")
        if self.datadir is not None and not Path(self.datadir).is_dir():
            raise DataError(f"datamodule.datadir (dir.data)={self.datadir}: there is no such folder.")
        dataset = self.specs[split].get("dataset") or {}
        prefix = str(dataset.get("video_path_prefix") or self.video_path_prefix)
        if dataset.get("datadir"):
            return Path(dataset["datadir"]), prefix, f"datamodule.{split}.dataset.datadir"
        if self.datadir is None:
            raise ConfigError(
                f"Where the {split} split is is not said: write dir.data=/path/to/data (datamodule.datadir), or "
                f"datamodule.{split}.dataset.datadir."
            )
        return Path(self.datadir) / _FOLDERS[split], prefix, f"datamodule.datadir (dir.data), folder {_FOLDERS[split]}"


class VideoDataModule(VideoBaseDataModule):
    """Labelled videos of any classes.

    Args:
        num_classes: Number of classes.
        datadir: As for all other arguments, see `VideoBaseDataModule`.
        train: The training split.
        val: The validation split.
        test: The test split.
        video_path_prefix: Default of the splits.
        decode_audio: Must be false.
        decoder: Name of the decoder, default of the splits.
        decoder_args: Arguments of the decoder, default of the splits.

    Raises:
        ConfigError: As in `VideoBaseDataModule`.
    """

    def __init__(
        self,
        num_classes: int,
        datadir: str | Path | None = None,
        train: Mapping[str, Any] | None = None,
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        video_path_prefix: str | Path = "",
        decode_audio: bool = False,
        decoder: str = "pyav",
        decoder_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(datadir, train, val, test, video_path_prefix, decode_audio, decoder, decoder_args)
        self.num_classes = num_classes
