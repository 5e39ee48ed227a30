"""Datamodules of labelled videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from typing_extensions import TypedDict, Unpack

from eztorch.datamodules.base import BaseDataModule
from eztorch.datamodules.video_checks import (
    class_names,
    label_table,
    report_unreadable,
    with_frame_name,
    without_missing,
)
from eztorch.datamodules.video_sources import VideoSource, VideoSources, described
from eztorch.datasets.annotations import Annotation, LabeledVideoPaths, read_annotation
from eztorch.datasets.annotations.media import locate, with_known_lengths
from eztorch.datasets.decoders import build_decoder
from eztorch.datasets.labeled_video_dataset import LabeledVideoDataset
from eztorch.datasets.video_index import VideoIndex
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.values import as_count

# Whether a decoder reads folders of frames; one that is not here reads files, and None looks which there are.
_READS_FOLDERS: dict[str, bool | None] = {"frame": True, "flow": True, "auto": None}


class VideoKeys(TypedDict, total=False):
    """Keys that every datamodule of videos takes beside `datadir`; `VideoBaseDataModule` says what they mean."""

    train: Mapping[str, Any] | None
    val: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    video_path_prefix: str | Path
    decode_audio: bool
    decoder: str
    decoder_args: Mapping[str, Any] | None
    classes: Sequence[str] | str | Path | None
    on_missing: str
    max_failure_share: float


class VideoBaseDataModule(BaseDataModule):
    """Splits of labelled videos.

    Further keys of a split: `clip_sampler`; `decoder` and `decoder_args` where they differ from those of the datamodule
    (the arguments are laid over the datamodule's, unless the split names another decoder). Keys of its `dataset`:

    * `datadir`: a csv or json file or a folder of classes as `read_annotation` reads them, or the folder of the
      official lists where the data set has such;
    * `video_path_prefix`: the folder that the paths of a file start from;
    * `subset`: which of the official lists; without lists, the folder of this name in the `datadir` of the datamodule;
    * `video_id_to_label`: a mapping, or a json file of one, from the video ids of a frame list to labels, each a class
      or a weight for every class.

    Without them a split is the subset of its name (for test that of val, or what val's `dataset` says).

    Where annotations name their classes (folders, the csv of Kinetics), those of the training set say which label is
    which, or `classes` does.

    An index of the videos (`eztorch data index`) is used where there is one: it knows how many frames the folders of
    frames have, and which files cannot be read.

    Args:
        datadir: Folder of the data.
        train: The training split.
        val: The validation split.
        test: The test split.
        video_path_prefix: Default of the splits.
        decode_audio: Must be false.
        decoder: Name of the decoder, default of the splits.
        decoder_args: Arguments of the decoder, default of the splits.
        classes: Names of the classes in the order of their labels, or a file of them, one a line; for annotations that
            name classes and have no official order.
        on_missing: What to do when listed videos are not there: `error`, or `warn`: training goes on without them,
            and in evaluation each counts as one that could not be read.
        max_failure_share: Share of the training videos that the index may know to be unreadable, 0 to 1.

    Attributes:
        subsets: The subset of each split.
        choices: The subsets that there are; empty where any folder is one.
        lists: Folder of the official lists in `datadir`; None where there are none.
        media: Folder of the videos in `datadir` that the official lists start from.

    Raises:
        ConfigError: As in `BaseDataModule`, or audio is asked for, or a value cannot be used.
    """

    split_keys: ClassVar[tuple[str, ...]] = (*BaseDataModule.split_keys, "clip_sampler", "decoder", "decoder_args")
    subsets: ClassVar[Mapping[str, str]] = {"train": "train", "val": "val", "test": "val"}
    choices: ClassVar[tuple[str, ...]] = ()
    lists: ClassVar[str | None] = None
    media: ClassVar[str] = ""

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
        classes: Sequence[str] | str | Path | None = None,
        on_missing: str = "error",
        max_failure_share: float = 0.05,
    ) -> None:
        if decode_audio:
            raise ConfigError("datamodule.decode_audio=true: audio is not supported yet; write false or leave it out.")
        if on_missing not in ("error", "warn"):
            raise ConfigError(f"datamodule.on_missing={on_missing!r}; expected 'error' or 'warn'.")
        if not isinstance(max_failure_share, int | float) or not 0 <= max_failure_share <= 1:
            raise ConfigError(f"datamodule.max_failure_share={max_failure_share!r}; expected a share, 0 to 1.")
        super().__init__(datadir, train, val, test)
        for split, spec in self.specs.items():
            if spec.get("clip_sampler") is None:
                raise ConfigError(f"datamodule.{split}.clip_sampler is missing: it says which clips a video gives.")
        self.video_path_prefix = video_path_prefix
        self.decoder = decoder
        self.decoder_args = dict(decoder_args or {})
        self.classes = class_names(classes)
        self.on_missing = on_missing
        self.max_failure_share = max_failure_share
        self._sources = VideoSources(
            datadir=datadir,
            video_path_prefix=video_path_prefix,
            subsets=self.subsets,
            choices=self.choices,
            lists=self.lists,
            media=self.media,
        )
        self._videos: dict[tuple[str, str, bool | None], LabeledVideoPaths] = {}
        self._indices: dict[str, VideoIndex | None] = {}

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation | None:
        """Read official lists; a data set that has such does so here.

        Their paths start from `video_path_prefix`, or from `media` where there is none, and have to be there, though a
        prepared copy may have another extension.

        Args:
            folder: The folder of the lists.
            subset: Which of them.
            frame_folders: Whether videos are read as folders of frames; None for either.

        Returns:
            None: there are none, and the folder is one of classes.
        """
        return None

    def make_dataset(self, split: str, spec: Mapping[str, Any], *, training: bool) -> LabeledVideoDataset:
        """Make the dataset of a split; see `BaseDataModule.make_dataset`."""
        decoder, arguments = spec.get("decoder") or self.decoder, dict(spec.get("decoder_args") or {})
        if decoder == self.decoder:
            arguments = {**self.decoder_args, **arguments}
        videos = self.videos(split, spec.get("dataset"), frame_folders=_READS_FOLDERS.get(decoder, False))
        return LabeledVideoDataset(
            videos,
            build(spec["clip_sampler"]),
            build_decoder(decoder, with_frame_name(arguments, videos.frame_name)),
            transform=build(spec.get("transform")),
            training=training,
            on_error=spec.get("on_error") or "skip",
        )

    def videos(
        self, split: str, dataset: Mapping[str, Any] | None = None, *, frame_folders: bool | None = False
    ) -> LabeledVideoPaths:
        """Return the videos of a split, the same at every call.

        Args:
            split: The split.
            dataset: The mapping that says where they are.
            frame_folders: Whether the videos are folders of frames; None where they may be either.

        Raises:
            DataError: The data folder or the annotation cannot be read, or videos are missing; the message has the key
                and the path.
        """
        dataset = dataset or {}
        key = split, json.dumps(dataset, sort_keys=True, default=str), frame_folders
        if key not in self._videos:
            source = self._sources.find(split, dataset, self.specs)
            try:
                annotation = self._annotation(source, dataset, frame_folders, self._classes(split, source))
            except DataError as error:
                raise DataError(f"{source.key}: {error}") from error
            self._videos[key] = self._checked(annotation, source, split, frame_folders)
        return self._videos[key]

    def _annotation(
        self, source: VideoSource, dataset: Mapping[str, Any], frame_folders: bool | None, classes: Sequence[str]
    ) -> Annotation:
        official: Annotation | None = None
        if self.lists is not None and not source.path.is_file():
            official = self.read_lists(source.path, source.subset, frame_folders=frame_folders)
        if official is not None:
            return official._replace(as_published=True)
        return read_annotation(
            source.path,
            self.num_classes,
            classes,
            media=source.prefix,
            frame_folders=frame_folders,
            video_id_to_label=label_table(dataset.get("video_id_to_label"), f"{source.key}.video_id_to_label"),
            subset=source.subset,
        )

    def _checked(
        self, annotation: Annotation, source: VideoSource, split: str, frame_folders: bool | None
    ) -> LabeledVideoPaths:
        """Hold the videos of an annotation, after a look at which there are and what an index knows of them."""
        is_folder = source.path.is_dir() and not annotation.as_published
        videos = LabeledVideoPaths.of(annotation, path_prefix=source.path if is_folder else source.prefix)
        if not is_folder:  # what is in a folder of classes is there
            videos, missing = locate(videos, frame_folders=frame_folders, as_published=annotation.as_published)
            videos = without_missing(videos, missing, key=source.key, split=split, on_missing=self.on_missing)
        index = self._index_of(videos)
        return videos if index is None or frame_folders is False else with_known_lengths(videos, index)

    def look_at(self, dataset: Dataset[Any], indices: NDArray[np.int64] | None, *, split: str, key: str) -> None:
        """Tell which videos an index knows to be unreadable; see `BaseDataModule.look_at`.

        Raises:
            DataError: They are too large a share of a training set.
        """
        assert isinstance(dataset, LabeledVideoDataset)
        videos = dataset.videos if indices is None else dataset.videos.subset(indices)
        index = self._index_of(videos)
        if index is not None:
            report_unreadable(videos, index, key=key, split=split, max_failure_share=self.max_failure_share)

    def _index_of(self, videos: LabeledVideoPaths) -> VideoIndex | None:
        """Return the index of the folder of some videos, read once."""
        folder = videos.path_prefix
        if folder and folder not in self._indices:
            self._indices[folder] = VideoIndex.find(folder)
        return self._indices.get(folder)

    def _classes(self, split: str, source: VideoSource) -> tuple[str, ...]:
        """Return the order of the classes that a split has to have, where something says it."""
        has_lists = self.lists is not None and not source.path.is_file()
        if self.classes or has_lists or split == "train" or "train" not in self.specs:
            return self.classes
        training = self._sources.find("train", described(self.specs["train"])[0], self.specs)
        names_classes = source.path.is_dir() or source.path.suffix == ".csv"
        if not names_classes or source.path.is_dir() != training.path.is_dir() or not training.path.exists():
            return ()
        return self._annotation(training, {}, None, ()).classes


class VideoDataModule(VideoBaseDataModule):
    """Labelled videos of any classes.

    Args:
        num_classes: Number of classes.
        datadir: Folder of the data.
        **shared: Further keys, see `VideoBaseDataModule`.

    Raises:
        ConfigError: As in `VideoBaseDataModule`.
    """

    def __init__(self, num_classes: int, datadir: str | Path | None = None, **shared: Unpack[VideoKeys]) -> None:
        super().__init__(datadir, **shared)
        self.num_classes = as_count(num_classes, "datamodule.num_classes")
