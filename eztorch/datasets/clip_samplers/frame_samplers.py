"""Clips by the numbers of their frames: where a rule is put, how many temporal crops, how many spatial crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol, runtime_checkable

import torch

from eztorch.datasets.clip_samplers.frame_indices import IntArray, sliding_starts
from eztorch.datasets.clip_samplers.frame_rules import FrameRule, SpanRule
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.values import as_count

_ANY_RULE = "a rule of frames: DenseFrames, SparseFrames, IntervalFrames or SegmentFrames"


class FrameClip(NamedTuple):
    """Frames of a video.

    Attributes:
        indices: Their numbers, from 0 in the order of presentation, in the order of the clip, int64, shape (T,).
        clip_index: Number of the clip in its video: of the temporal crop.
        aug_index: Number of the augmentation of the clip: of the spatial crop.
        is_last: Whether the video has no further clip.
    """

    indices: IntArray
    clip_index: int
    aug_index: int
    is_last: bool


class FrameClipList(tuple[FrameClip, ...]):
    """Clips of one video that make up one sample together: its views."""

    __slots__ = ()

    @property
    def is_last(self) -> bool:
        """Whether the video has no further clips."""
        return self[-1].is_last


@runtime_checkable
class FrameSampler(Protocol):
    """Says, from the number of frames of a video, which frames become clips. It keeps no state between calls."""

    def frames(
        self, num_frames: int, fps: Fraction, generator: torch.Generator | None = None
    ) -> Sequence[FrameClip | FrameClipList]:
        """Return all clips of a video.

        Args:
            num_frames: Number of frames of the video, at least 1.
            fps: Its frames a second, the average where the rate varies.
            generator: Where random numbers are drawn from; None is torch's global generator.
        """
        ...


class RandomFrameSampler:
    """Clips at random places, for training.

    Args:
        frames: The rule that chooses the frames of a clip. Of several rules every clip draws one, such as
            `DenseFrames` of different rates; all of them should give the same number of frames.
        num_clips: Number of clips of a sample, each drawn by itself: the views of self-supervised learning. With one,
            `input` is that clip and not a list.

    Raises:
        ConfigError: No rule, or a number of clips below 1.

    >>> from eztorch.datasets.clip_samplers import DenseFrames
    >>> RandomFrameSampler(DenseFrames(8, 8)).frames(57, Fraction(25))[0].indices
    array([ 0,  8, 16, 24, 32, 40, 48, 56])
    """

    def __init__(self, frames: FrameRule | Sequence[FrameRule], num_clips: int = 1) -> None:
        self.rules = tuple(frames) if isinstance(frames, Sequence) else (frames,)
        for rule in self.rules:
            _check(rule, FrameRule, _ANY_RULE)
        if not self.rules:
            raise ConfigError("frames=[]; expected at least one rule, such as DenseFrames.")
        self.num_clips = as_count(num_clips, "num_clips")

    def frames(
        self, num_frames: int, fps: Fraction, generator: torch.Generator | None = None
    ) -> list[FrameClip | FrameClipList]:
        """Return a clip, or the views of a sample; see `FrameSampler`."""
        views = FrameClipList(
            FrameClip(self._rule(generator).random(num_frames, fps, generator), index, 0, is_last=True)
            for index in range(self.num_clips)
        )
        return [views if self.num_clips > 1 else views[0]]

    def _rule(self, generator: torch.Generator | None) -> FrameRule:
        if len(self.rules) == 1:
            return self.rules[0]
        return self.rules[int(torch.randint(len(self.rules), (), generator=generator))]


class ConstantFrameSampler:
    """The same number of clips from every video, at fixed places, each of them once for every spatial crop.

    Sample j of a video is temporal crop `j // spatial_crops` and spatial crop `j % spatial_crops`: its `clip_index` and
    its `aug_index`.

    Args:
        frames: The rule that chooses the frames of a clip.
        temporal_crops: Number of clips.
        spatial_crops: How often each clip is given. The transform crops by `aug_index`.

    Raises:
        ConfigError: A count below 1.

    >>> from eztorch.datasets.clip_samplers import DenseFrames
    >>> clips = ConstantFrameSampler(DenseFrames(2, 4), temporal_crops=2, spatial_crops=2).frames(10, Fraction(25))
    >>> [(clip.indices.tolist(), clip.clip_index, clip.aug_index) for clip in clips]
    [([0, 4], 0, 0), ([0, 4], 0, 1), ([5, 9], 1, 0), ([5, 9], 1, 1)]
    """

    def __init__(self, frames: FrameRule, temporal_crops: int = 1, spatial_crops: int = 1) -> None:
        _check(frames, FrameRule, _ANY_RULE)
        self.rule = frames
        self.temporal_crops = as_count(temporal_crops, "temporal_crops")
        self.spatial_crops = as_count(spatial_crops, "spatial_crops")

    def frames(self, num_frames: int, fps: Fraction, generator: torch.Generator | None = None) -> list[FrameClip]:
        """Return the clips, temporal crop by temporal crop; see `FrameSampler`."""
        return _crops(
            lambda index: self.rule.crop(num_frames, fps, index, self.temporal_crops),
            self.temporal_crops,
            self.spatial_crops,
        )


class SlidingFrameSampler:
    """Clips at every stride from the first frame on, as long as a whole clip fits: how many depends on the video.

    A video shorter than a clip gives one, as its rule says.

    Args:
        frames: The rule that chooses the frames of a clip, `DenseFrames` or `IntervalFrames`.
        stride: Distance of the clips, in frames of the video.
        tail: What happens to the frames behind the last of those clips: `drop` leaves them out, `shift` adds a clip
            that ends with the video.
        spatial_crops: How often each clip is given. The transform crops by `aug_index`.

    Raises:
        ConfigError: A count below 1, an unknown `tail`, or a rule whose clips have no place in the video.

    >>> from eztorch.datasets.clip_samplers import DenseFrames
    >>> clips = SlidingFrameSampler(DenseFrames(8, 1), stride=4).frames(21, Fraction(25))
    >>> [(int(clip.indices[0]), int(clip.indices[-1])) for clip in clips]
    [(0, 7), (4, 11), (8, 15), (12, 19)]
    """

    def __init__(self, frames: SpanRule, stride: int, tail: str = "drop", spatial_crops: int = 1) -> None:
        _check(frames, SpanRule, "a rule whose clips can be put anywhere: DenseFrames or IntervalFrames")
        self.rule = frames
        self.stride = as_count(stride, "stride")
        self.shift_tail = choose({"drop": False, "shift": True}, tail, "tail")
        self.spatial_crops = as_count(spatial_crops, "spatial_crops")

    def frames(self, num_frames: int, fps: Fraction, generator: torch.Generator | None = None) -> list[FrameClip]:
        """Return the clips, window by window; see `FrameSampler`."""
        room = max(int(num_frames - self.rule.span(fps)), 0)
        starts = sliding_starts(room, self.stride, shift_tail=self.shift_tail)
        return _crops(lambda index: self.rule.at(num_frames, fps, starts[index]), len(starts), self.spatial_crops)


def _crops(frames_of: Callable[[int], IntArray], temporal_crops: int, spatial_crops: int) -> list[FrameClip]:
    """Return each temporal crop once for every spatial crop."""
    last = temporal_crops * spatial_crops - 1
    return [
        FrameClip(indices, clip_index, aug_index, is_last=clip_index * spatial_crops + aug_index == last)
        for clip_index, indices in enumerate(map(frames_of, range(temporal_crops)))
        for aug_index in range(spatial_crops)
    ]


def _check(rule: object, kind: type, which: str) -> None:
    if not isinstance(rule, kind):
        raise ConfigError(f"frames={rule!r}; expected {which}.")
