"""Opening a medium once and writing down what it is. Of a video no more than the first frame is decoded."""

from __future__ import annotations

import os
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from eztorch.data.listing import IMAGE_SUFFIXES, Medium, frame_numbers, list_files, suffix
from eztorch.datasets.decoders.errors import UnreadableError, brief
from eztorch.datasets.decoders.packet_tables import PacketTable, frame_rate, table_from_header, table_from_scan
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.video_index import VideoFacts, stamp

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# What opening or decoding a medium that is not sound may raise; Pillow calls a broken PNG a syntax error.
FAILURES = (UnreadableError, OSError, SyntaxError, av.error.FFmpegError, Image.DecompressionBombError)
_MAX_MISSING = 100
# A video ends too early when it is this much shorter than its header says; the last frame makes small differences.
_SHORTER_SECONDS, _SHORTER_SHARE = 0.5, 0.05
# How files of videos begin, by the place of the words: MP4 and QuickTime, AVI, Matroska and WebM, Flash.
_BEGINNINGS = (
    (4, (b"ftyp", b"moov", b"mdat", b"free", b"wide")),
    (8, (b"AVI ",)),
    (0, (b"\x1a\x45\xdf\xa3", b"FLV")),
)


class FaultError(Exception):
    """A medium cannot be used.

    Attributes:
        fault: The kind of fault.
        reason: What is wrong, in words.
    """

    def __init__(self, fault: str, reason: str) -> None:
        super().__init__(fault, reason)
        self.fault = fault
        self.reason = reason


def probe(folder: str | Path, medium: Medium) -> VideoFacts:
    """Return the facts of a medium; where it cannot be read, its `status` says why.

    Args:
        folder: Where the path of the medium starts.
        medium: The medium.
    """
    path = os.path.join(folder, medium.path)
    size, mtime_ns = stamp(path) or (0, 0)
    facts: dict[str, Any] = {}
    try:
        _PROBES[medium.kind](path, facts)
    except FaultError as error:
        facts |= {"fault": error.fault, "status": error.reason}
    except FAILURES as error:
        facts |= {"fault": "undecodable", "status": brief(error) or type(error).__name__}
    return VideoFacts(medium.path, size, mtime_ns, kind=medium.kind, **facts)


def _probe_video(path: str, facts: dict[str, Any]) -> None:
    with closing(_open_video(path)) as file:
        codec = file.codec
        facts |= {"container": file.format, "codec": codec.codec.canonical_name, "pixel_format": codec.pix_fmt}
        facts |= {"width": codec.width, "height": codec.height, "num_streams": len(file.stream.container.streams)}
        table = table_from_header(file) or table_from_scan(file)  # as the decoders count
        facts |= {
            "duration": float((table.end - table.start) * file.time_base),
            "fps": frame_rate(file),
            "num_frames": int(table.ranks[-1]),
            "key_frame_distance": int(np.diff(table.keys).max()),
        }
        _refuse_cut_off(file, table, path)
        facts["rotation"] = round(_first_frame(file).rotation) % 360


def _open_video(path: str) -> PacketFile:
    if os.path.getsize(path) == 0:
        raise FaultError("empty", "the file is empty")
    try:
        file = PacketFile(path)
    except (UnreadableError, av.error.FFmpegError) as error:
        understood = isinstance(error, UnreadableError) and error.__cause__ is None  # such as a file of sound alone
        if not understood and _begins_like_video(path):
            raise FaultError("cut-off", "it begins as a video does, but its header is damaged or cut off") from error
        reason = "its content is none that FFmpeg knows" if error.__cause__ else brief(error)
        raise FaultError("not-media", f"not a video: {reason}") from error
    if file.format.endswith("_pipe"):
        file.close()
        raise FaultError("not-media", f"not a video: its content is a picture ({file.format.removesuffix('_pipe')})")
    return file


def _begins_like_video(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(16)
    return any(head.startswith(word, place) for place, words in _BEGINNINGS for word in words)


def _refuse_cut_off(file: PacketFile, table: PacketTable, path: str) -> None:
    """Raise where the end of a video is missing that its header promises."""
    listed, size = (
        max((entry.pos + entry.size for entry in file.stream.index_entries), default=0),
        os.path.getsize(path),
    )
    if listed > size:
        raise FaultError("cut-off", f"the file ends at byte {size}, its pictures would go on to byte {listed}")
    if table.readable is not None:
        raise FaultError("cut-off", f"the file ends before the last of the {file.stream.frames} frames in its header")
    promised, there = _promised_seconds(file), float(table.end * file.time_base)
    if promised is not None and promised - there > max(_SHORTER_SECONDS, _SHORTER_SHARE * promised):
        raise FaultError("cut-off", f"the file ends after {there:.1f} s of the {promised:.1f} s in its header")


def _promised_seconds(file: PacketFile) -> float | None:
    """Return when the pictures end, as the header says; None where it only says it of all streams together."""
    written = file.stream.metadata.get("DURATION")  # Matroska: 00:00:05.000000000
    if written is not None:
        hours, minutes, seconds = map(float, written.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    if file.format == "avi" and file.stream.frames:  # where sound ends the file, no picture of it is cut
        return float(file.stream.frames / frame_rate(file))
    container: Any = file.stream.container
    if "matroska" not in file.format or len(container.streams) > 1 or container.duration is None:
        return None
    return float(Fraction(container.duration, av.time_base))


def _first_frame(file: PacketFile) -> VideoFrame:
    codec = file.codec
    for packet in file.packets():
        for frame in codec.decode(packet):
            return frame
    for frame in codec.decode(None):
        return frame
    raise FaultError("undecodable", "no frame comes out")


def _probe_frames(path: str, facts: dict[str, Any]) -> None:
    frames = frame_numbers(list_files(path, lambda name: suffix(name) in IMAGE_SUFFIXES))
    if frames is None:
        raise FaultError("not-media", "no picture in the folder has a number in its name")
    missing = frames.missing
    facts |= {"num_frames": frames.num_frames, "missing": tuple(missing[:_MAX_MISSING])}
    _probe_image(os.path.join(path, frames.names[min(frames.names)]), facts)
    if missing:
        some = ", ".join(map(str, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise FaultError("missing-frames", f"{len(missing)} of {frames.num_frames} frames are not there: number {some}")


def _probe_image(path: str, facts: dict[str, Any]) -> None:
    if os.path.getsize(path) == 0:
        raise FaultError("empty", f"the file {os.path.basename(path)} is empty")
    try:
        with Image.open(path) as image:
            facts |= {"width": image.width, "height": image.height, "codec": image.format, "pixel_format": image.mode}
    except UnidentifiedImageError as error:
        raise FaultError("not-media", f"the file {os.path.basename(path)} is not a picture") from error


_PROBES = {"video": _probe_video, "frames": _probe_frames, "image": _probe_image}
