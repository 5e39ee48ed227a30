"""When the frames of an encoded video are shown, and which packets it takes to decode them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.packet_tables import (
    HeaderIsWrongError,
    PacketTable,
    frame_rate,
    table_from_header,
    table_from_scan,
)
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.timeline import Numbers, Timeline

T = TypeVar("T")


@dataclass
class Run:
    """Packets that are decoded one after the other, and the frames that are wanted of them.

    Attributes:
        first: Number of the first packet, a key frame.
        last: Number of the last packet that is needed.
        stamps: When the wanted frames are shown, rising.
    """

    first: int
    last: int
    stamps: list[int] = field(default_factory=list)


class FrameIndex(Timeline):
    """The frames of an encoded video in the order of presentation, by their exact time stamps.

    An MP4 file lists its packets in its header, so only the groups of pictures that are asked for are read. Of other
    files all packets are read once. Either way nothing is decoded.
    """

    def __init__(self, file: PacketFile) -> None:
        self._file = file
        self._time_base = file.time_base
        self._table = table_from_header(file) or table_from_scan(file)
        self.num_frames = int(self._table.ranks[-1])
        self.duration = (self._table.end - self._table.start) * self._time_base
        self.fps = frame_rate(file)

    @property
    def ordered(self) -> bool:
        """Whether decoded frames can be told by their stamps; if not, they have to be counted."""
        return self._table.ordered

    @property
    def group_length(self) -> float:
        """Mean number of packets from one key frame to the next."""
        return float(self._table.keys[-1]) / (len(self._table.keys) - 1)

    def rank(self, seconds: Fraction, *, inclusive: bool = False) -> int:
        """Count the frames that begin before a time; see `Timeline.rank`."""
        ticks = Fraction(seconds) / self._time_base
        stamp = self._table.start + (ticks.__floor__() + 1 if inclusive else ticks.__ceil__())
        return self._ask(lambda table: _rank(table, stamp))

    def begin(self, index: int) -> Fraction:
        """Return exactly when a frame begins, counted from the first of the video."""
        return int(self.stamps([index])[0] - self._table.start) * self._time_base

    def seconds(self, indices: Numbers) -> NDArray[np.float64]:
        """Return when frames begin, counted from the first of the video."""
        since_start = self.stamps(indices) - self._table.start
        return since_start * self._time_base.numerator / self._time_base.denominator

    def stamps(self, indices: Numbers | Sequence[int]) -> Numbers:
        """Return when frames begin, as the file says it, in units of the stream's time base."""
        return self._ask(lambda table: np.array([_find(table, int(i)).stamp for i in indices], dtype=np.int64))

    def runs(self, indices: Sequence[int]) -> list[Run]:
        """Say which packets have to be decoded for some frames, given as rising numbers."""
        return self._ask(lambda table: _runs(table, indices))

    def closed(self, indices: Sequence[int]) -> bool:
        """Say whether no frame of the groups of these frames is shown before its key frame."""
        places = self._ask(lambda table: [_find(table, index) for index in indices])
        return all(place.closed for place in places)

    def _ask(self, question: Callable[[PacketTable], T]) -> T:
        try:
            return question(self._table)
        except HeaderIsWrongError:
            self._table = table_from_scan(self._file)
            return question(self._table)


def _rank(table: PacketTable, stamp: int) -> int:
    """Count the frames that are shown before a stamp."""
    if table.readable is not None and stamp > table.readable:
        raise UnreadableError("the file is cut off before the end of the span")
    if stamp <= table.start:
        return 0
    number = int(np.searchsorted(table.floors, stamp)) - 1
    group = table.group(number)
    while number > 0 and (len(group.stamps) == 0 or group.stamps[0] >= stamp):
        number -= 1
        group = table.group(number)
    return int(table.ranks[number] + np.searchsorted(group.stamps, stamp))


@dataclass(frozen=True)
class _Place:
    """Where a frame is: when it is shown, its packet, the packet at which decoding has to begin, and its group."""

    stamp: int
    number: int
    first: int
    closed: bool


def _find(table: PacketTable, rank: int) -> _Place:
    if rank >= table.ranks[-1]:
        raise UnreadableError(f"the file is cut off before frame {rank}")
    number = int(np.searchsorted(table.ranks, rank, side="right")) - 1
    group = table.group(number)
    position = rank - int(table.ranks[number])
    stamp = int(group.stamps[position])
    # A frame that is shown before the key frame of its group may refer to the group before (an open group).
    first = int(table.keys[number - 1]) if number > 0 and stamp < group.key_stamp else group.first
    return _Place(stamp, int(group.numbers[position]), first, closed=int(group.stamps[0]) == group.key_stamp)


def _runs(table: PacketTable, indices: Sequence[int]) -> list[Run]:
    runs: list[Run] = []
    for place in (_find(table, index) for index in indices):
        if not runs or place.first > runs[-1].last + 1:
            runs.append(Run(place.first, place.number))
        runs[-1].last = max(runs[-1].last, place.number)
        runs[-1].stamps.append(place.stamp)
    return runs
