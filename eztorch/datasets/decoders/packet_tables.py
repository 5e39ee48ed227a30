"""What is known of the packets of an encoded video before any of them is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.packets import PacketFile, as_fraction
from eztorch.datasets.decoders.timeline import Numbers

# Containers that store when each frame is shown. In the others it is guessed from the order of decoding, which is only
# right when that is the order of presentation too.
_STORES_PRESENTATION = {"mov", "mp4", "matroska", "webm", "flv", "mpegts"}


class HeaderIsWrongError(Exception):
    """The packets are not those that the header of the file lists."""


@dataclass(frozen=True)
class Group:
    """A group of pictures: a key frame and the packets up to the next one.

    Attributes:
        first: Number of the packet of the key frame.
        key_stamp: When the key frame is shown.
        stamps: When the frames of the group are shown, rising.
        numbers: The packet of each of them.
    """

    first: int
    key_stamp: int
    stamps: Numbers
    numbers: Numbers


@dataclass(frozen=True)
class PacketTable:
    """The packets of a file, numbered in decode order. Stamps are in units of the stream's time base.

    Legend: G groups of pictures.

    Attributes:
        keys: Number of the first packet of each group, and at the end the number of packets, shape (G + 1,).
        ranks: Rank of the first frame of each group, and at the end the number of frames, shape (G + 1,).
        floors: Nothing in a group or after it is shown before this stamp, rising, shape (G,).
        start: Stamp of the first frame.
        end: Stamp at which the last frame ends.
        readable: Up to which stamp all frames are there; None when that is all of them.
        ordered: Whether decoded frames can be told by their stamps. If not, they have to be counted.
        group: Gives the group of a number.
    """

    keys: Numbers
    ranks: Numbers
    floors: Numbers
    start: int
    end: int
    readable: int | None
    ordered: bool
    group: Callable[[int], Group]


def frame_rate(file: PacketFile) -> Fraction:
    """Return the average rate, or FFmpeg's guess at it; 25 where neither is known, as FFmpeg takes for raw streams."""
    return as_fraction(file.stream.average_rate) or as_fraction(file.stream.guessed_rate) or Fraction(25)


def table_from_header(file: PacketFile) -> PacketTable | None:
    """Make the table from the header of an MP4 file; the groups are read when they are asked for.

    Returns:
        None where the header does not list every packet, or where some of them are not shown (an edit list).
    """
    stream = file.stream
    if "mp4" not in file.format or stream.start_time is None or not stream.duration:
        return None
    entries = list(stream.index_entries)
    dts = np.array([entry.timestamp for entry in entries], dtype=np.int64)
    keys = np.array([i for i, entry in enumerate(entries) if entry.is_keyframe] + [len(entries)], dtype=np.int64)
    if not entries or len(entries) != stream.frames or keys[0] != 0 or np.any(np.diff(dts) <= 0):
        return None
    if any(entry.is_discard or entry.size == 0 for entry in entries):
        return None
    file.number_by("dts", dts)
    groups: dict[int, Group] = {}

    def group(number: int) -> Group:
        if number not in groups:
            groups[number] = _read_group(file, int(keys[number]), dts[keys[number] : keys[number + 1]])
        return groups[number]

    start = int(stream.start_time)
    end = start + int(stream.duration)
    steps = np.diff(dts)
    if len(steps) and steps.min() != steps.max():
        # Of a variable rate, the header adds up the steps of decoding, and frames that are shown late may lie behind.
        try:
            last = int(group(len(keys) - 2).stamps[-1])
        except HeaderIsWrongError:
            return None
        end = end if last < end else last + int(steps[-1])
    return PacketTable(keys, keys, dts[keys[:-1]], start, end, None, True, group)


def table_from_scan(file: PacketFile) -> PacketTable:
    """Make the table by reading every packet of the file once.

    Raises:
        UnreadableError: There is no frame in the file.
    """
    scan = _scan(file)
    if not any(scan.shown):
        raise UnreadableError("the file holds no frames")
    tick = max(1, round(1 / (frame_rate(file) * file.time_base)))
    return _ordered_table(file, scan, tick) or _counted_table(scan, tick)


def _read_group(file: PacketFile, first: int, dts: Numbers) -> Group:
    read = [(packet.dts, packet.pts) for packet in file.preview(first, first + len(dts)) if not packet.is_corrupt]
    stamps = {pts for _, pts in read if pts is not None}
    if [stamp for stamp, _ in read] != dts.tolist() or len(stamps) != len(read) or min(stamps) < dts[0]:
        raise HeaderIsWrongError
    return _sorted_group(first, np.array([pts for _, pts in read], dtype=np.int64), np.ones(len(read), dtype=np.bool_))


def _sorted_group(first: int, stamps: Numbers, shown: NDArray[np.bool_]) -> Group:
    numbers = np.flatnonzero(shown)
    numbers = numbers[np.argsort(stamps[numbers])]
    return Group(first, int(stamps[0]), stamps[numbers], first + numbers)


@dataclass(frozen=True)
class _Scan:
    """Facts about the packets of a file, in decode order."""

    pts: list[int | None]
    dts: list[int | None]
    durations: list[int | None]
    shown: NDArray[np.bool_]
    keys: NDArray[np.bool_]
    cut: bool


def _scan(file: PacketFile) -> _Scan:
    packets = [
        (p.pts, p.dts, p.duration, p.size > 0 and not p.is_discard, p.is_keyframe, p.is_corrupt) for p in file.packets()
    ]
    if packets and packets[-1][-1]:
        packets.pop()  # the file ends in the middle of this one
    pts, dts, durations, shown, keys, _ = map(list, zip(*packets, strict=True)) if packets else ([] for _ in range(6))
    counted = len(packets)
    if file.format == "avi" and dts and dts[-1] is not None:
        counted = dts[-1] + 1  # its header counts moments, and at some of them no frame may begin
    return _Scan(pts, dts, durations, np.array(shown, bool), np.array(keys, bool), counted < file.stream.frames)


def _ordered_table(file: PacketFile, scan: _Scan, tick: int) -> PacketTable | None:
    """Make the table where the file says when each frame is shown; None where it does not, or not plausibly."""
    stored = _STORES_PRESENTATION & set(file.format.split(","))
    if None in scan.pts or len(set(scan.pts)) != len(scan.pts) or not (stored or not file.codec.has_b_frames):
        return None
    pts = np.array(scan.pts, dtype=np.int64)
    first_packets = np.union1d([0], np.flatnonzero(scan.keys))
    floors = np.minimum.reduceat(pts, first_packets)
    if np.any(np.maximum.reduceat(pts, first_packets)[:-1] >= floors[1:]):
        return None
    shown, readable = scan.shown, None
    if scan.cut and scan.dts[-1] is not None:
        # What is missing is decoded, so shown too, after the last packet: up to that one nothing is missing.
        readable = int(scan.dts[-1]) + 1
        shown = shown & (pts < readable)
        if not shown.any():
            raise UnreadableError("the file is cut off before its first frame")
    file.number_by("pts", pts)
    keys = np.append(first_packets, len(pts)).astype(np.int64)

    def group(number: int) -> Group:
        part = slice(keys[number], keys[number + 1])
        return _sorted_group(int(keys[number]), pts[part], shown[part])

    ranks = np.append(0, np.add.reduceat(shown.astype(np.int64), first_packets).cumsum())
    last = int(np.argmax(np.where(shown, pts, np.iinfo(np.int64).min)))
    start, end = int(pts[shown].min()), int(pts[last]) + (scan.durations[last] or tick)
    if scan.cut and file.stream.duration:
        end = start + int(file.stream.duration)
    return PacketTable(keys, ranks, floors, start, end, readable, True, group)


def _counted_table(scan: _Scan, tick: int) -> PacketTable:
    """Make the table of a file in which frames are told by counting: one group, decoded from its start."""
    slots = [stamp for stamp, shown in zip(scan.dts, scan.shown, strict=True) if shown]
    stamps = np.arange(len(slots), dtype=np.int64) * tick
    if None not in slots and np.all(np.diff(np.array(slots, dtype=np.int64)) > 0):
        stamps = np.array(slots, dtype=np.int64)
    group = Group(0, int(stamps[0]), stamps, np.flatnonzero(scan.shown))
    start, end = int(stamps[0]), int(stamps[-1]) + tick
    bounds = np.array([0, len(stamps)])
    return PacketTable(
        np.array([0, len(scan.shown)]), bounds, stamps[:1], start, end, None, False, lambda number: group
    )
