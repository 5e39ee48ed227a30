"""Optical flow as folders of pictures, and its neighbouring fields stacked in the channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eztorch.datasets.decoders.clips import ClipReader
from eztorch.datasets.decoders.errors import UnreadableError, blame
from eztorch.datasets.decoders.frame import FrameDecoder
from eztorch.datasets.decoders.options import ClipOptions
from eztorch.datasets.decoders.reader import FrameNumbers, Segment, VideoReader
from eztorch.datasets.decoders.source import FrameSource
from eztorch.datasets.decoders.timeline import RegularTimeline, SegmentTimeline
from eztorch.datasets.decoders.timeout import Deadline, Watch
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose
from eztorch.utils.values import as_count

FLOW_DIRECTION = "{flow_direction}"
"""The field of a path or of a frame's name that stands for the direction of the flow."""


class FlowDecoder:
    """Reads optical flow that was stored as pictures: the horizontal part u and the vertical part v, 0 to 255.

    A clip has shape (2 `flow_neighbours`, T, H, W): frame t has the fields of frames t, t + 1, ... in the channels
    u, v, u, v, ... Behind the last field of a video, or of a segment, the last one repeats.

    A clip sampler of times, with the frame filter, chooses the first field of every stack. A sampler that chooses
    frames by number has to be told the same number of `neighbours`, and chooses all fields of a stack, so that they lie
    in the video where the video is long enough.

    Args:
        flow: `RG` where a picture has u in red and v in green; `RR` where u and v are pictures of their own, of which
            red is read. Then the path of a video or `frame_name` has the field `{flow_direction}`.
        flow_neighbours: How many fields make up a stack.
        flow_folder_x: What stands for `{flow_direction}` in the names of the pictures of u.
        flow_folder_y: As `flow_folder_x`, of v.
        fps: As for all arguments below, see `FrameDecoder`.
        num_threads_io: Threads that read the files.
        num_threads_decode: Threads that decode the pictures.
        frame_name: Name of a picture's file.
        first_index: The `index` of the first picture.
        **options: The arguments of `ClipOptions`; a time difference there is none of.

    Raises:
        ConfigError: A value cannot be used.
    """

    def __init__(
        self,
        *,
        flow: str = "RG",
        flow_neighbours: int = 5,
        flow_folder_x: str = "u",
        flow_folder_y: str = "v",
        fps: float | str | Fraction = 30,
        num_threads_io: int = 0,
        num_threads_decode: int = 0,
        frame_name: str = "{index:08d}.jpg",
        first_index: int = 1,
        **options: Any,
    ) -> None:
        self._options = ClipOptions.build(**options)
        if self._options.time_difference_prob:
            raise ConfigError("time_difference_prob: optical flow has no time difference; write 0 or leave it out.")
        self._neighbours = as_count(flow_neighbours, "flow_neighbours")
        # Directory names and the channels that are read of each picture.
        layouts = {"RG": ((None, (0, 1)),), "RR": ((flow_folder_x, (0,)), (flow_folder_y, (0,)))}
        self._parts = choose(layouts, flow, "flow")
        self._frame_name = frame_name
        self._decoders = [
            FrameDecoder(
                fps=fps,
                num_threads_io=num_threads_io,
                num_threads_decode=num_threads_decode,
                frame_name=_directed(frame_name, direction),
                first_index=first_index,
            )
            for direction, _ in self._parts
        ]

    def open(self, path: str, num_frames: int | None = None, *, segment: Segment | None = None) -> VideoReader:
        """Open the folders of a video; see `Decoder.open`."""
        watch = Watch(Deadline(self._options.decode_timeout_s), path)

        def opener() -> ClipReader:
            with blame(path, "flow"):
                if len(self._parts) > 1 and FLOW_DIRECTION not in path + self._frame_name:
                    raise UnreadableError(
                        f"neither its path nor frame_name has the field {FLOW_DIRECTION}, as RR needs"
                    )
            readers = [
                decoder.open(_directed(path, direction), num_frames)
                for decoder, (direction, _) in zip(self._decoders, self._parts, strict=True)
            ]
            total = min(reader.num_frames or 0 for reader in readers)
            timeline = RegularTimeline(total, readers[0].fps)
            source = _FlowSource(readers, [channels for _, channels in self._parts], self._neighbours)
            reader = ClipReader(
                path,
                timeline=timeline,
                source=source,
                options=self._options,
                segment=segment,
                watch=watch,
                selected=partial(_first_fields, neighbours=self._neighbours),
            )
            part = None if segment is None else SegmentTimeline(timeline, segment)
            source.stop = total if part is None else part.first + part.num_frames
            return reader

        return watch.open("flow", opener)


def _directed(name: str, direction: str | None) -> str:
    return name if direction is None else name.replace(FLOW_DIRECTION, direction)


class _FlowSource(FrameSource):
    """Stacks of fields.

    Attributes:
        stop: The number behind the last field that may be read.
    """

    decoder = "flow"
    stop: int

    def __init__(self, readers: Sequence[VideoReader], channels: Sequence[tuple[int, ...]], neighbours: int) -> None:
        self._readers = readers
        self._channels = channels
        self._neighbours = neighbours

    def read(self, indices: Sequence[int]) -> Iterator[Tensor]:
        stacks = [np.minimum(index + np.arange(self._neighbours), self.stop - 1) for index in indices]
        wanted = np.unique(np.concatenate(stacks))
        pictures = [reader.get_frames([wanted])[0].video for reader in self._readers]
        parts = [picture[list(channels)] for picture, channels in zip(pictures, self._channels, strict=True)]
        if len({part.shape[1:] for part in parts}) > 1:
            raise UnreadableError("its pictures of u and v are not of the same size")
        fields = torch.cat(parts).transpose(0, 1)  # (frames, 2, H, W)
        return (fields[torch.from_numpy(np.searchsorted(wanted, stack))].flatten(0, 1) for stack in stacks)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


def _first_fields(selection: FrameNumbers, num_frames: int, *, neighbours: int) -> FrameNumbers:
    """Return the first field of every stack of a selection that has all fields of each.

    Raises:
        ConfigError: It is not made of such stacks.
    """
    chosen = np.asarray(selection)
    if len(chosen) % neighbours == 0:
        stacks = chosen.reshape(-1, neighbours)
        if np.array_equal(stacks, np.minimum(stacks[:, :1] + np.arange(neighbours), num_frames - 1)):
            return stacks[:, 0]
    raise ConfigError(
        f"decoder flow: the sampler chose frames {chosen.tolist()}, which are not stacks of {neighbours} in a row. "
        f"Tell it clip_sampler.frames.neighbours={neighbours}, the same as decoder_args.flow_neighbours."
    )
