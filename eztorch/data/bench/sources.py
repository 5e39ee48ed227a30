"""What `eztorch data bench` reads: a sample of files, or of a split of an experiment."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eztorch.data.bench.throughput import Read, Shape, clip_read
from eztorch.data.experiment import load_config
from eztorch.data.listing import Medium, list_media
from eztorch.datamodules.base import SPLITS
from eztorch.datamodules.video import VideoBaseDataModule
from eztorch.datasets.concat import Concat
from eztorch.datasets.decoders import build_decoder
from eztorch.datasets.labeled_video_dataset import LabeledVideoDataset
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.subsets import Subset
from eztorch.engine.arguments import Arguments
from eztorch.utils.config import build, locate
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose

# Decoders of video files, the first the one that every installation has.
FILE_DECODERS = ("pyav", "torchcodec", "decord")


class Source(Protocol):
    """Media that can be read with several decoders.

    Attributes:
        title: What is read, and how.
        media: The media; their paths are absolute, or seen from the working directory.
        decoders: Names of the decoders that read them.
        chosen: The decoder that the user has chosen, None where nothing says it.
    """

    title: str
    media: Sequence[Medium]
    decoders: Sequence[str]
    chosen: str | None

    def read(self, decoder: str, instead: Mapping[int, str] | None = None) -> Read:
        """Return what reads the media with a decoder.

        Args:
            decoder: Its name.
            instead: By the numbers of some media what is read in their places; the read counts these from 0.

        Raises:
            ConfigError: The decoder cannot be used here.
        """


class Files:
    """Files of folders; the attributes are those of `Source`.

    Args:
        sources: Folders and files.
        shape: The clips that are read.
        number: Files of the sample.
        fps: Rate of folders of frames.

    Raises:
        DataError: There is no video, or there are videos and folders of frames.
    """

    def __init__(self, sources: Sequence[str], shape: Shape, number: int, fps: Fraction) -> None:
        media = [medium for source in sources for medium in _media(source)]
        kinds = {medium.kind for medium in media}
        if not kinds:
            raise DataError(
                f"{', '.join(sources)}: there is no video and no folder of frames. How fast pictures are read is "
                "time/samples_per_s of a run."
            )
        if len(kinds) > 1:
            raise DataError(f"{', '.join(sources)}: there are videos and folders of frames; bench one after the other.")
        self.decoders: Sequence[str] = ("frame",) if kinds == {"frames"} else FILE_DECODERS
        self.chosen: str | None = None
        self.media: Sequence[Medium] = sample(media, number)
        what = "folders of frames" if kinds == {"frames"} else "videos"
        self.title = f"{', '.join(sources)}: {len(self.media)} of {len(media)} {what}, {shape} of each"
        self._shape, self._fps = shape, fps

    def read(self, decoder: str, instead: Mapping[int, str] | None = None) -> Read:
        """Return what reads them; see `Source`."""
        args = self._shape.decoder_args() | ({"fps": str(self._fps)} if decoder == "frame" else {})
        paths = [medium.path for medium in self.media] if instead is None else list(instead.values())
        return clip_read(paths, build_decoder(decoder, args), self._shape)


class Experiment:
    """Samples of a split of an experiment, without their transform; the attributes are those of `Source`.

    Args:
        config: The configuration.
        split: The split.
        number: Samples to read.

    Raises:
        ConfigError: There is no such split, or it is none of videos.
    """

    def __init__(self, config: Mapping[str, Any], split: str, number: int) -> None:
        self._spec = config["datamodule"]
        choose({name: None for name in SPLITS if self._spec.get(name)}, split, "--split")
        if not issubclass(locate(str(self._spec["_target_"])), VideoBaseDataModule):
            raise ConfigError(f"datamodule.{split} reads no videos; bench reads videos and folders of frames.")
        own = self._spec[split]
        self.chosen: str | None = own.get("decoder") or self._spec.get("decoder") or "pyav"
        self.decoders: Sequence[str] = FILE_DECODERS if self.chosen in (*FILE_DECODERS, "auto") else (self.chosen,)
        self._split = split
        places = [(part, row) for part, (_, rows) in enumerate(self._parts(self.chosen)) for row in rows]
        self._places: Sequence[tuple[int, int]] = sample(places, number)
        datasets = [dataset for dataset, _ in self._parts(self.chosen)]
        kind = "frames" if self.decoders == ("frame",) else "video"
        self.media: Sequence[Medium] = [Medium(datasets[part].name(row), kind) for part, row in self._places]
        self.title = f"datamodule.{split}: {len(self._places)} of {len(places)} videos, {_clips(own)}"

    def read(self, decoder: str, instead: Mapping[int, str] | None = None) -> Read:
        """Return what reads them; see `Source`."""
        datasets = [dataset for dataset, _ in self._parts(decoder)]
        samples = [(datasets[part], row) for part, row in self._places]
        if instead is not None:
            samples = [(_with_video(samples[file][0], samples[file][1], path), 0) for file, path in instead.items()]

        def read(file: int, turn: int) -> int:
            dataset, row = samples[file]
            item: Any = dataset[SampleAddress(turn * len(samples) + file, row)]
            inputs = [one["input"] for one in (item if isinstance(item, list) else [item])]
            return sum(len(one) if isinstance(one, list) else 1 for one in inputs)

        return read

    def _parts(self, decoder: str) -> list[tuple[LabeledVideoDataset, Sequence[int]]]:
        """Return the data sets of videos that the split is made of, and which of their videos it has."""
        parts = _parts_of(self._dataset(decoder))
        if not all(isinstance(dataset, LabeledVideoDataset) for dataset, _ in parts):
            raise ConfigError(f"datamodule.{self._split} reads no videos; bench reads videos and folders of frames.")
        return parts

    def _dataset(self, decoder: str) -> Any:
        own = self._spec[self._split]
        arguments = {**(self._spec.get("decoder_args") or {}), **(own.get("decoder_args") or {})}
        changed = {"decoder": decoder, "decoder_args": arguments, "transform": None, "on_error": "raise"}
        with warnings.catch_warnings():  # of arguments that the decoder has no use for
            warnings.filterwarnings("ignore", message="decoder: ")
            datamodule = build({**self._spec, self._split: {**own, **changed}})
            datamodule.prepare_data()
            return datamodule.dataset(self._split)


def load_experiment(experiment: Arguments, split: str, number: int) -> Experiment:
    """Compose an experiment and take a sample of one of its splits."""
    return Experiment(load_config(experiment), split, number)


def sample(items: Sequence[Any], number: int) -> list[Any]:
    """Draw some of the items, always the same, in their order; all when there are no more.

    >>> sample(range(100), 4) == sample(range(100), 4)
    True
    >>> len(set(sample(range(100), 4)))
    4
    """
    if len(items) <= number:
        return list(items)
    return [items[row] for row in sorted(np.random.default_rng(0).choice(len(items), number, replace=False).tolist())]


def _media(source: str) -> list[Medium]:
    if Path(source).is_file():
        return [Medium(source, "video")]
    media = (Medium(os.path.join(source, one.path), one.kind) for one in list_media(source))
    return [medium for medium in media if medium.kind != "image"]


def _clips(spec: Mapping[str, Any]) -> str:
    """Describe the clips of a split."""
    sampler = spec["clip_sampler"]
    options = ", ".join(f"{key} {value}" for key, value in sampler.items() if not str(key).startswith("_"))
    return f"clips of {sampler['_target_'].rpartition('.')[2]} ({options})"


def _parts_of(dataset: Any) -> list[tuple[Any, Sequence[int]]]:
    if isinstance(dataset, Concat):
        return [part for one in dataset.datasets for part in _parts_of(one)]
    if isinstance(dataset, Subset):
        return [(dataset.dataset, dataset.indices.tolist())]
    return [(dataset, range(len(dataset)))]


def _with_video(dataset: LabeledVideoDataset, row: int, path: str) -> LabeledVideoDataset:
    """Return a data set of one video that is read from another file."""
    videos = dataset.videos.subset([row])
    changed = copy.copy(dataset)
    changed.videos = videos.with_videos([videos[0]._replace(path=os.path.abspath(path))])
    return changed
