"""The samples that `eztorch data show` draws: of an experiment as its training gets them, or of files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from eztorch.data.bench.sources import sample
from eztorch.data.experiment import load_config
from eztorch.data.listing import IMAGE_SUFFIXES, Medium, list_media, suffix
from eztorch.data.show.sheet import Card, View
from eztorch.datasets.collate import collate
from eztorch.datasets.decoders import build_decoder
from eztorch.datasets.failures import ReadError, SampleFailure
from eztorch.datasets.image_sources import read_image
from eztorch.datasets.loader_samplers import EpochSampler, SampleAddress
from eztorch.engine.arguments import Arguments
from eztorch.engine.run import seed_run
from eztorch.models.steps import apply_transform, build_transform
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose
from eztorch.utils.randomness import addressed_randomness, run_seed
from eztorch.visualization.thumbnails import find_normalisation, to_display


class Samples:
    """Samples of an experiment.

    Args:
        config: The configuration.
        split: The split.

    Raises:
        ConfigError: There is no such split.
    """

    def __init__(self, config: Mapping[str, Any], split: str) -> None:
        spec = config["datamodule"]
        splits = {name: one for name in ("train", "val", "test") if isinstance(one := spec.get(name), Mapping)}
        choose(splits, split, "--split")
        seed_run(config.get("seed", 0))
        self._split, self._spec, self._model = split, splits[split], config.get("model") or {}
        datamodule = build(spec)
        datamodule.prepare_data()
        self._dataset: Any = datamodule.dataset(split)

    def addresses(self, number: int, epoch: int, indices: Sequence[int] | None) -> list[SampleAddress]:
        """Choose samples: those asked for; of training the first of an epoch; of evaluation evenly spread ones.

        Raises:
            ConfigError: There is no sample of such an index.
        """
        length = len(self._dataset)
        if indices is not None:
            outside = [index for index in indices if index >= length]
            if outside:
                raise ConfigError(f"--indices {outside[0]}: the {self._split} split has {length} samples, from 0.")
            return [SampleAddress(epoch, index) for index in indices]
        number = min(number, length)
        if self._split != "train":
            return [SampleAddress(0, place * length // number) for place in range(number)]
        shuffle = (self._spec.get("loader") or {}).get("shuffle", True)
        sampler = EpochSampler(length, shuffle=shuffle, num_folds=self._spec.get("num_folds") or 1)
        sampler.set_epoch(epoch)
        return list(sampler)[:number]

    def cards(self, addresses: Sequence[SampleAddress], *, on_device: bool, num_views: int) -> list[Card]:
        """Read samples and make a card of each.

        Args:
            addresses: Which.
            on_device: Apply the batch transform of the model as well.
            num_views: Views of a sample at most.
        """
        items = [self._dataset[address] for address in addresses]
        groups = [item if isinstance(item, list) else [item] for item in items]
        rows = [row for group in groups for row in group if not isinstance(row, SampleFailure)]
        shown = iter([_listed(row["input"]) for row in rows])
        if on_device and rows:
            shown = iter(self._transformed(rows, addresses[0].epoch))
        scale = self._normalisation(on_device)
        cards = []
        for address, group in zip(addresses, groups, strict=True):
            failures = [row for row in group if isinstance(row, SampleFailure)]
            good = [row for row in group if not isinstance(row, SampleFailure)]
            drawn = [
                View(to_display(pixels, scale), _caption(row, number, pixels, several=len(views) > 1))
                for row, views in zip(good, islice(shown, len(good)), strict=True)
                for number, pixels in enumerate(views)
            ]
            cards.append(self._card(address, group, drawn, failures, num_views))
        return cards

    def _transformed(self, rows: Sequence[Mapping[str, Any]], epoch: int) -> list[list[Tensor]]:
        """Return the views of each row after the batch transform of the model."""
        key = f"{self._split}_transform"
        spec = self._model.get(key)
        if spec is None:
            raise ConfigError(f"--device-transform: the experiment has no model.{key}; leave the flag out.")
        with addressed_randomness(run_seed(), epoch, 0, 0):  # as the first step of the epoch is seeded
            views = _listed(apply_transform(build_transform(spec), collate(rows)["input"]))
        return [[view[row] for view in views] for row in range(len(rows))]

    def _normalisation(self, on_device: bool) -> tuple[list[float], list[float]] | None:
        own = find_normalisation(self._spec.get("transform"))
        return own or (find_normalisation(self._model.get(f"{self._split}_transform")) if on_device else None)

    def _card(
        self, address: SampleAddress, group: Sequence[Any], views: list[View], failures: list[SampleFailure], most: int
    ) -> Card:
        first = next((row for row in group if not isinstance(row, SampleFailure)), None)
        title = "cannot be read" if first is None else class_label(first.get("label", -1), self._classes())
        index = address.index if first is None else int(first.get("idx", address.index))
        note = f"{self._split}, sample {index}"
        if hasattr(self._dataset, "name"):
            name = str(first["video_name"]) if first and "video_name" in first else self._dataset.name(index)
            note += f"   {short_path(name)}"
        if failures:
            note += f"   {failures[0].reason}"
        if len(views) > most:
            note += f"   {most} of {len(views)} views"
        return Card(title, note, views[:most])

    def _classes(self) -> Sequence[str]:
        return getattr(self._dataset, "classes", ()) or ()


def load_samples(experiment: Arguments, split: str) -> Samples:
    """Compose an experiment and open one of its splits."""
    return Samples(load_config(experiment), split)


def file_cards(sources: Sequence[str], number: int, num_frames: int) -> list[Card]:
    """Make cards of videos, folders of frames and pictures, a video from its beginning to its end.

    Args:
        sources: Folders and files.
        number: Files to show, spread at random over all.
        num_frames: Frames of a video.

    Raises:
        DataError: There is none.
    """
    media = [medium for source in sources for medium in _media(source)]
    if not media:
        raise DataError(f"{', '.join(sources)}: there is no video and no picture.")
    return [_file_card(medium, num_frames) for medium in sample(media, number)]


def _media(source: str) -> list[Medium]:
    if Path(source).is_file():
        return [Medium(source, "image" if suffix(source) in IMAGE_SUFFIXES else "video")]
    return [Medium(os.path.join(source, one.path), one.kind) for one in list_media(source)]


def _file_card(medium: Medium, num_frames: int) -> Card:
    folder, name = os.path.split(medium.path)
    title, note = os.path.basename(folder) or name, short_path(medium.path)
    try:
        if medium.kind == "image":
            pixels = read_image(medium.path)
            return Card(title, note, [View(pixels, f"{pixels.shape[2]} x {pixels.shape[1]}")])
        with build_decoder("frame" if medium.kind == "frames" else "pyav").open(medium.path) as reader:
            total = reader.num_frames or 1
            shown = np.unique(np.linspace(0, total - 1, num_frames).round().astype(np.int64))
            clip = reader.get_frames([shown])[0]
            size = f"{clip.video.shape[3]} x {clip.video.shape[2]}, {total} frames"
            if medium.kind == "video":
                size += f", {float(reader.duration):.2f} s, {float(reader.fps):.4g} frames/s"
        return Card(title, note, [View(clip.video, size)])
    except ReadError as error:
        return Card("cannot be read", f"{note}   {error.reason}", [])


def class_label(label: Any, classes: Sequence[str]) -> str:
    """Name the class, or the classes of a vector with an entry for each.

    >>> import torch
    >>> class_label(1, ["rising", "falling"]), class_label(7, []), class_label(torch.tensor([0.0, 1, 1]), list("abc"))
    ('falling', 'class 7', 'b, c')
    """
    label = label[0] if isinstance(label, list) else label
    if isinstance(label, Tensor) and label.ndim:
        numbers = [int(number) for number in label.nonzero().flatten()]
        return ", ".join(class_label(number, classes) for number in numbers) or "no class"
    number = int(label)
    if number < 0:
        return "no label"
    return classes[number] if number < len(classes) else f"class {number}"


def short_path(path: str) -> str:
    """Return the last three parts of a path.

    >>> short_path("/data/k/train/zumba/a.mp4")
    'train/zumba/a.mp4'
    """
    return "/".join(Path(path).parts[-3:])


def _listed(inputs: Any) -> list[Tensor]:
    return list(inputs) if isinstance(inputs, list | tuple) else [inputs]


def _caption(row: Mapping[str, Any], number: int, pixels: Tensor, *, several: bool) -> str:
    """Say what is known of a view: its size, and of a clip its frames, when it is, and its numbers."""

    def of_view(key: str) -> Any:
        value = row.get(key)
        return (
            (value[number] if number < len(value) else value[0]) if isinstance(value, list | tuple) and value else value
        )

    parts = [f"{pixels.shape[-1]} x {pixels.shape[-2]}"]
    if pixels.ndim == 4:
        parts = [f"{pixels.shape[1]} frames of {parts[0]}"]
    start, end = of_view("clip_start"), of_view("clip_end")
    if start is not None and end is not None:
        parts.insert(0, f"{float(start):.2f} - {float(end):.2f} s")
    numbers = {"clip": of_view("clip_index"), "augmentation": of_view("aug_index")}
    parts += [f"{name} {int(value)}" for name, value in numbers.items() if value is not None]
    if of_view("time_difference"):
        parts.append("differences of frames")
    return (f"view {number + 1}: " if several else "") + ", ".join(parts)
