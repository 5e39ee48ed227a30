"""Videos with labels as a map-style dataset: one item a video, read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eztorch.datasets.annotations import LabeledVideoPaths
from eztorch.datasets.clip_samplers import (
    ClipInfo,
    ClipInfoList,
    ClipSampler,
    FrameClip,
    FrameClipList,
    FrameSampler,
    all_clips,
)
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import Indices, Item, Sample, blaming, check_on_error, read_item
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import addressed_randomness, generator

if TYPE_CHECKING:
    from eztorch.datasets.decoders import Clip, Decoder, VideoReader

Infos: TypeAlias = "list[ClipInfo | ClipInfoList]"

# Stream of random numbers of the clips; at one address the transform has the address itself. Were they one stream, the
# place of a crop would follow from the time of its clip.
_CLIPS = 1


class LabeledVideoDataset(Dataset[Item]):
    """Clips of labelled videos.

    An item is the sample of its video; the list of its samples where the clip sampler gives several clips one after
    the other; or the `SampleFailure` of a video that could not be read. A sample is a mapping of `input` (uint8,
    `(C, T, H, W)`), `label` (-1 for none) and the other targets of the annotations, `idx`, `clip_index`, `aug_index`,
    `clip_start`, `clip_end` (seconds), `time_difference` (whether the decoder gave differences of frames) and
    `video_name` (the path in the annotation). Where the clip sampler gives several clips at once, `input` and all that
    belongs to a clip are lists of one element a clip.

    Where the annotation is about a segment of a video, that segment is all that the clip sampler sees, and times count
    from its start. A clip that a frame sampler chose lasts from the start of its earliest frame to the end of its
    latest.

    What is drawn for an item depends on (run seed, epoch, index) alone: the times of its clips, what the decoder draws
    and what the transform draws from the global generators, which are put back afterwards. All clips of a video are
    decoded in one call; the augmentations of a clip share its frames.

    Args:
        videos: The videos.
        clip_sampler: Which spans, or which frames, become clips.
        decoder: What reads them.
        transform: Applied to each sample.
        training: Whether another video may stand in for one that cannot be read; in evaluation none ever does.
        on_error: What happens when a video cannot be read. `raise` raises the error. `skip` and `count_as_wrong` give
            the failure itself in evaluation; in training another video, drawn by the address, with the failures in its
            `failures`.

    Raises:
        ConfigError: `on_error` is none of these, or the clip sampler is no sampler.
    """

    def __init__(
        self,
        videos: LabeledVideoPaths,
        clip_sampler: ClipSampler | FrameSampler,
        decoder: Decoder,
        *,
        transform: Callable[[Sample], Sample] | None = None,
        training: bool = False,
        on_error: str = "skip",
    ) -> None:
        if not callable(clip_sampler) and not isinstance(clip_sampler, FrameSampler):
            raise ConfigError(
                f"clip_sampler={clip_sampler!r} is no clip sampler. A rule such as DenseFrames stands in `frames` of a "
                "RandomFrameSampler, ConstantFrameSampler or SlidingFrameSampler."
            )
        self.videos = videos
        self.clip_sampler = clip_sampler
        self.decoder = decoder
        self.transform = transform
        self.training = training
        self.on_error = check_on_error(on_error)
        self.stand_ins: Indices = range(len(videos))

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self.videos)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of every video, -1 for none, shape (N,); see `LabeledVideoPaths.labels`."""
        return self.videos.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels, empty where they are not known."""
        return self.videos.classes

    def name(self, index: int) -> str:
        """Return the path of a video."""
        return self.videos.full_path(index)

    def __getitem__(self, address: SampleAddress | int) -> Item:
        """Read a video.

        Args:
            address: Epoch and index of the video; an index alone means epoch 0.

        Raises:
            VideoDecodeError: The video cannot be read and `on_error` is `raise`, or that many in a row cannot.
            RuntimeError: Something else failed; the message names the video.
        """
        return read_item(
            self._read,
            address,
            self.stand_ins,
            label=lambda index: self.videos.target(index)["label"],
            training=self.training,
            on_error=self.on_error,
        )

    def _read(self, index: int, address: tuple[int, ...]) -> list[Sample]:
        """Read and transform all samples of a video, all that is drawn seeded by an address."""
        video, path = self.videos[index], self.videos.full_path(index)
        draws = generator(*address, _CLIPS)
        with (
            blaming(path, "its clips were made"),
            self.decoder.open(path, num_frames=video.num_frames, segment=video.segment) as reader,
            addressed_randomness(*address),
        ):
            infos, clips = self._clips(reader, draws)
            known = self.videos.target(index) | {"idx": index, "video_name": video.path}
            samples = [_sample(info, clips) | known for info in infos]
            return samples if self.transform is None else [self.transform(sample) for sample in samples]

    def _clips(self, reader: VideoReader, draws: torch.Generator) -> tuple[Infos, dict[int, Clip]]:
        """Choose the clips of a video and decode, in one call, each of them once: its augmentations share it.

        Returns:
            The clips in their order, and what was decoded by `clip_index`.
        """
        if not isinstance(self.clip_sampler, FrameSampler):
            infos = all_clips(self.clip_sampler, reader.duration, draws)
            spans = {one.clip_index: (one.start, one.end) for info in infos for one in _parts(info)}
            return infos, dict(zip(spans, reader.get_clips(list(spans.values()), draws), strict=True))
        if reader.num_frames is None:
            name = type(self.clip_sampler).__name__
            raise ConfigError(f"{name} needs the number of frames of a video, which this decoder does not know.")
        chosen = self.clip_sampler.frames(reader.num_frames, reader.fps, draws)
        frames = {one.clip_index: one.indices for clip in chosen for one in _parts(clip)}
        clips = dict(zip(frames, reader.get_frames(list(frames.values()), draws), strict=True))
        return [_timed(clip, clips, reader) for clip in chosen], clips


def _parts(clip: ClipInfo | ClipInfoList | FrameClip | FrameClipList) -> Sequence[Any]:
    return clip if isinstance(clip, ClipInfoList | FrameClipList) else (clip,)


def _timed(chosen: FrameClip | FrameClipList, clips: dict[int, Clip], reader: VideoReader) -> ClipInfo | ClipInfoList:
    """Return when the chosen frames are shown: from the start of the earliest to the end of the latest."""
    if isinstance(chosen, FrameClipList):
        return ClipInfoList(_span(clip, clips[clip.clip_index], reader) for clip in chosen)
    return _span(chosen, clips[chosen.clip_index], reader)


def _span(chosen: FrameClip, clip: Clip, reader: VideoReader) -> ClipInfo:
    # How long the latest frame is shown is known by its successor alone, which was not read: the average is taken.
    first, last = Fraction(clip.pts.min().item()), Fraction(clip.pts.max().item())
    return ClipInfo(first, last + 1 / reader.fps, chosen.clip_index, chosen.aug_index, chosen.is_last)


def _sample(info: ClipInfo | ClipInfoList, clips: dict[int, Clip]) -> Sample:
    """Return what a sample says of its clip; of several clips at once, as lists."""
    if isinstance(info, ClipInfoList):
        views = [_sample(one, clips) for one in info]
        return {key: [view[key] for view in views] for key in views[0]}
    clip = clips[info.clip_index]
    return {
        # A transform may write to what it is given, so only the first augmentation has the decoded frames themselves.
        "input": clip.video if info.aug_index == 0 else clip.video.clone(),
        "clip_index": info.clip_index,
        "aug_index": info.aug_index,
        "clip_start": float(info.start),
        "clip_end": float(info.end),
        "time_difference": clip.time_difference,
    }
