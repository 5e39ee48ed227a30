"""The packets of an encoded video: numbered in decode order and found again after a seek. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import av
import numpy as np

from eztorch.datasets.decoders.errors import UnreadableError, brief
from eztorch.datasets.decoders.timeline import Numbers
from eztorch.datasets.decoders.timeout import Deadline

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


class PacketFile:
    """The packets of the best video stream of a file, the stream that FFmpeg itself would play.

    Args:
        path: The file. It is read packet by packet, never as a whole.
        num_threads: Threads of the decoder that belongs to the stream; 0 lets FFmpeg decide.
        deadline: Until when to go on reading; looked at before each packet.

    Raises:
        UnreadableError: The file is not a video, or holds none.
        av.error.FFmpegError: The file cannot be opened.
    """

    def __init__(self, path: str, *, num_threads: int = 1, deadline: Deadline | None = None) -> None:
        self._path = path
        self._deadline = deadline or Deadline()
        self.num_threads = num_threads
        self._stamp: Literal["dts", "pts"] = "dts"
        self._stamps: Numbers | None = None
        self._kept: dict[int, Packet[Any]] = {}
        self._open()

    def _open(self) -> None:
        try:
            self._container = av.open(self._path)
        except av.error.InvalidDataError as error:
            what = "it is not a video, or its header is cut off" if os.path.getsize(self._path) else "the file is empty"
            raise UnreadableError(f"{what} ({brief(error)})") from error
        except av.error.IsADirectoryError as error:
            raise UnreadableError("it is a folder; decoder 'frame' reads folders of pictures") from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise UnreadableError("the file holds no video stream that can be decoded")
        self.stream: VideoStream = stream  # type: ignore[assignment]  # best("video") gives no other kind
        self.codec.thread_count = self.num_threads
        self.codec.thread_type = "NONE" if self.num_threads == 1 else "AUTO"
        self._packets: Iterator[Packet[Any]] = self._container.demux(self.stream)
        self._next = 0

    @property
    def format(self) -> str:
        """FFmpeg's name of the container format."""
        return self._container.format.name

    @property
    def time_base(self) -> Fraction:
        """Seconds in a unit of the time stamps."""
        return as_fraction(self.stream.time_base) or Fraction(1)

    @property
    def codec(self) -> VideoCodecContext:
        """The decoder of the stream. It is another one after a rewind."""
        return self.stream.codec_context

    def number_by(self, stamp: Literal["dts", "pts"], stamps: Numbers) -> None:
        """Say which time stamps number the packets, so that seeking is possible.

        Args:
            stamp: Which of a packet's two.
            stamps: Its values in decode order, without repetition.
        """
        self._stamp, self._stamps = stamp, stamps

    def packets(self, first: int = 0, stop: int | None = None) -> Iterator[Packet[Any]]:
        """Read the packets `first` to `stop` - 1 in decode order, or fewer when the file ends before."""
        kept = [] if stop is None else [self._kept.pop(number, None) for number in range(first, stop)]
        if kept and None not in kept:
            return self._hand_out(kept)  # type: ignore[arg-type]  # there is no None
        if first != self._next:
            self._go_to(first)
        return self._read(stop)

    def preview(self, first: int, stop: int) -> list[Packet[Any]]:
        """Read packets as `packets` does, and keep them in memory for the next reading that needs just them."""
        read = list(self.packets(first, stop))
        self._kept.update(enumerate(read, start=first))
        return read

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _hand_out(self, kept: list[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in kept:
            self._deadline.check()
            yield packet

    def _read(self, stop: int | None) -> Iterator[Packet[Any]]:
        while self._next != stop:
            self._deadline.check()
            packet = next(self._packets, None)
            if packet is None or (packet.size == 0 and packet.pts is None and packet.dts is None):
                return  # the empty packet that PyAV puts at the end
            self._next += 1
            yield packet

    def _go_to(self, number: int) -> None:
        if not self._seek(number):
            self.close()
            self._open()
        for _ in self._read(number):
            pass

    def _seek(self, number: int) -> bool:
        """Move to a packet, or to one before it; return False when that did not work."""
        if self._stamps is None:
            return False
        try:
            self._container.seek(int(self._stamps[number]), stream=self.stream)
        except av.error.FFmpegError:
            return False
        packets = self._container.demux(self.stream)
        head = next(packets, None)
        landed = np.flatnonzero(self._stamps == getattr(head, self._stamp, None))
        if len(landed) != 1 or landed[0] > number:
            return False
        self._packets = chain([head], packets)  # type: ignore[list-item]  # a found head is a packet
        self._next = int(landed[0])
        return True


def as_fraction(rate: Any) -> Fraction | None:
    """Return a rational of PyAV as a Fraction; None and 0, its words for unknown, as None."""
    return Fraction(rate.numerator, rate.denominator) if rate else None
