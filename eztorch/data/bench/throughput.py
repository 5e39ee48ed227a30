"""How many clips a second can be read, per core: several ways in turns, over the same clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from eztorch.data.progress import progress
from eztorch.data.text import amount, figure
from eztorch.datasets.decoders import Decoder, VideoDecodeError, build_decoder
from eztorch.utils.errors import DataError

# Reads the clips of a file, by its number, in a round, by its number; returns how many there were.
Read: TypeAlias = Callable[[int, int], int]


class Shape(NamedTuple):
    """The clips that are read of a video.

    Attributes:
        num_frames: Frames of a clip, evenly spaced; None for all.
        seconds: Duration that they are taken from.
        clips: Clips of a video, at random places, read together.
    """

    num_frames: int | None = 8
    seconds: Fraction = Fraction(64, 25)
    clips: int = 1

    def __str__(self) -> str:
        frames = "all frames" if self.num_frames is None else f"{self.num_frames} frames"
        many = "a clip" if self.clips == 1 else f"{self.clips} clips"
        return f"{many} of {frames} from {float(self.seconds):.3g} s"

    def decoder_args(self) -> dict[str, object]:
        """Return the arguments of a decoder that gives such clips."""
        if self.num_frames is None:
            return {}
        return {"frame_filter": {"subsample_type": "uniform", "num_samples": self.num_frames}}


@dataclass
class Speed:
    """How fast files were read one way.

    Attributes:
        seconds: CPU seconds of each file, summed over the rounds.
        clips: Clips of each file.
        failed: Why files could not be read.
    """

    seconds: dict[int, float] = field(default_factory=dict)
    clips: dict[int, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    def rate(self, files: set[int]) -> float:
        """Return the clips per second of a core over some files that were read."""
        return sum(self.clips[file] for file in files) / max(sum(self.seconds[file] for file in files), 1e-9)


def take_turns(reads: Mapping[str, Read], number: int, *, budget_s: float, rounds: int = 5) -> dict[str, Speed]:
    """Read all files in every way, one way after the other at each file, on one core.

    A first round, in which libraries start and files come into the memory of the system, does not count.

    Args:
        reads: The ways.
        number: Number of files.
        budget_s: Seconds after which no further round is begun.
        rounds: Number of rounds at most.
    """
    speeds = {name: Speed() for name in reads}
    threads, end = torch.get_num_threads(), time.monotonic() + budget_s
    torch.set_num_threads(1)
    try:
        with progress("Reading", (rounds + 1) * number) as bar:
            for turn in range(rounds + 1):
                for file in range(number):
                    for name, read in reads.items():
                        _time(speeds[name], read, file, turn)
                    bar.advance()
                if turn > 0 and time.monotonic() > end:
                    break
    finally:
        torch.set_num_threads(threads)
    return speeds


def _time(speed: Speed, read: Read, file: int, turn: int) -> None:
    if file in speed.failed:
        return
    start = time.process_time()
    try:
        clips = read(file, turn)
    except (VideoDecodeError, DataError) as error:
        speed.failed[file] = error.reason if isinstance(error, VideoDecodeError) else str(error)
        return
    if turn > 0:
        speed.seconds[file] = speed.seconds.get(file, 0.0) + time.process_time() - start
        speed.clips[file] = speed.clips.get(file, 0) + clips


def common_files(speeds: Mapping[str, Speed]) -> set[int]:
    """Return the files that were read in every way that read any."""
    read = [set(speed.seconds) for speed in speeds.values() if speed.seconds]
    return set.intersection(*read) if read else set()


def clip_read(paths: Sequence[str], decoder: Decoder | Sequence[Decoder], shape: Shape) -> Read:
    """Return what reads clips at random places; the same for every decoder.

    Args:
        paths: The videos.
        decoder: What reads them, or one for each.
        shape: What is read of each.
    """

    def read(file: int, turn: int) -> int:
        chosen = decoder[file] if isinstance(decoder, Sequence) else decoder
        with chosen.open(paths[file]) as reader:
            places = np.random.default_rng((file, turn)).random(shape.clips)
            starts = [max(Fraction(0), reader.duration - shape.seconds) * Fraction(float(place)) for place in places]
            reader.get_clips([(start, min(start + shape.seconds, reader.duration)) for start in starts])
        return shape.clips

    return read


def compare(before: Sequence[str], after: Sequence[str], rates: Sequence[Fraction] | None, shape: Shape) -> str:
    """Read clips of videos before and after they were made anew, and say how much faster it is.

    Args:
        before: The sources.
        after: What was made of them.
        rates: Frames a second where they are folders of frames now.
        shape: What is read.
    """
    args = shape.decoder_args()
    old = build_decoder("pyav", args)
    new = old if rates is None else [build_decoder("frame", {**args, "fps": str(rate)}) for rate in rates]
    reads = {"before": clip_read(before, old, shape), "after": clip_read(after, new, shape)}
    speeds = take_turns(reads, len(before), budget_s=20)
    files = common_files(speeds)
    if not files:
        return "None of the videos that were measured could be read both ways."
    first, second = (speeds[name].rate(files) for name in reads)
    return (
        f"Reading {shape}, {amount(len(files), 'video')}, one core: {figure(first)} clips/s before, "
        f"{figure(second)} clips/s now, {second / first:.1f} times as many."
    )
