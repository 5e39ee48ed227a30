"""What is wrong with a single medium."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from eztorch.data.check.look import Grey, look
from eztorch.data.index.probe import probe
from eztorch.data.listing import Medium, suffix
from eztorch.datasets.video_index import VideoFacts, stamp

LEVELS = ("quick", "sampled", "decode")
# The suffixes of files by FFmpeg's name of their container format, a part of it for those with several names.
_SUFFIXES = {
    "mp4": {".mp4", ".m4v", ".mov", ".3gp"},
    "matroska": {".mkv", ".webm"},
    "avi": {".avi"},
    "mpegts": {".ts", ".mts", ".m2ts"},
    "mpeg": {".mpg", ".mpeg", ".vob"},
    "asf": {".wmv"},
    "flv": {".flv"},
    "ogg": {".ogv"},
}


class Task(NamedTuple):
    """A medium that is to be examined.

    Attributes:
        path: The file or folder.
        kind: See `eztorch.data.listing.Medium`.
        level: `quick` reads headers, `sampled` decodes nine pictures of a video, `decode` all.
        facts: What an index knows of it, None for nothing.
    """

    path: str
    kind: str
    level: str
    facts: VideoFacts | None = None


class Examined(NamedTuple):
    """What was found of a medium.

    Attributes:
        facts: Its facts; of what is not there, path and kind alone.
        faults: Kinds of findings and their reasons.
        signature: See `eztorch.data.check.look.Look`.
    """

    facts: VideoFacts
    faults: list[tuple[str, str]]
    signature: Grey | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        signature = None if self.signature is None else self.signature.tobytes().hex()
        return {"facts": self.facts.to_json(), "faults": self.faults, "signature": signature}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Examined:
        """Make it of what `to_json` gave."""
        signature = line["signature"] and np.frombuffer(bytes.fromhex(line["signature"]), np.uint8).reshape(-1, 16, 16)
        return cls(VideoFacts.from_json(line["facts"]), [(kind, why) for kind, why in line["faults"]], signature)


def examine(task: Task) -> Examined:
    """Open a medium, look at its pictures as the level says, and return what is wrong with it."""
    if stamp(task.path) is None:
        return Examined(VideoFacts(task.path, 0, 0, kind=task.kind), [("missing", "there is no such file or folder")])
    facts = replace(task.facts, path=task.path) if task.facts else probe("", Medium(task.path, task.kind))
    if facts.fault is not None:
        return Examined(facts, [(facts.fault, facts.status)])
    faults = wrong_extension(task.path, facts)
    if task.level == "quick":
        return Examined(facts, faults)
    seen = look(task.path, facts, every_frame=task.level == "decode")
    if seen.fault is not None:
        faults.append((seen.fault, seen.reason))
    return Examined(facts, faults, seen.signature)


def wrong_extension(path: str, facts: VideoFacts) -> list[tuple[str, str]]:
    """Say whether the suffix of a file is that of another format than its content is of.

    >>> wrong_extension("a.mp4", VideoFacts("a.mp4", 1, 1, container="matroska,webm"))
    [('wrong-extension', 'its content is matroska,webm')]
    """
    if facts.kind == "frames":
        return []
    if facts.kind == "image":
        named = Image.registered_extensions().get(suffix(path))
        # Cameras and phones write several JPEG pictures into one file, MPO, whose first is what everybody reads.
        return (
            []
            if named is None or facts.codec in (named, "MPO")
            else [("wrong-extension", f"its content is {facts.codec}")]
        )
    known = [suffixes for name, suffixes in _SUFFIXES.items() if name in (facts.container or "").split(",")]
    if not known or suffix(path) in known[0]:
        return []
    return [("wrong-extension", f"its content is {facts.container}")]
