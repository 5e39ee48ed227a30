"""Probing the media of a folder, each of them once, and what can be said of all together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eztorch.data.index.probe import probe
from eztorch.data.listing import KINDS, Medium, list_media
from eztorch.data.pool import run_all
from eztorch.data.progress import duration, progress
from eztorch.data.text import amount, size
from eztorch.datasets.video_index import INDEX_NAME, VideoFacts, VideoIndex, stamp
from eztorch.utils.files import JsonLines, atomic_file

# How many bad files, and how many codecs, sizes and so on, the summary lists.
_MAX_BAD, _MAX_VALUES = 10, 5


def index_folder(
    folder: str | Path,
    *,
    kind: str = "auto",
    workers: int = 0,
    again: bool = False,
) -> tuple[VideoIndex, int]:
    """Bring the index of a folder up to date.

    What has been probed and has not changed since, by size and time, is not opened again; what is gone is left out. The
    index is written line by line, so that a second call goes on where one was stopped, and sorted at the end.

    Args:
        folder: The folder.
        kind: See `list_media`.
        workers: Processes; 0 works in this one.
        again: Probe everything again.

    Returns:
        The index, and how many media were probed for it.

    Raises:
        DataError: There is no such folder, or what is called like an index in it is none.
    """
    media = list_media(folder, kind)
    path = Path(folder, INDEX_NAME)
    old = VideoIndex(folder, []) if again or not path.exists() else VideoIndex.read(folder)
    facts = {medium.path: old.facts(medium.path) for medium in media}
    todo = [medium for medium in media if getattr(facts[medium.path], "kind", None) != medium.kind]
    if todo:
        with JsonLines(path) as lines, progress("Probing", len(todo)) as bar:
            for one in _probe_all(folder, todo, workers):
                facts[one.path] = one
                lines.append(one.to_json())
                bar.advance()
    known = [one for one in facts.values() if one is not None]
    if todo or len(known) != len(old):
        with atomic_file(path) as temporary, JsonLines(temporary) as lines:
            for one in known:
                lines.append(one.to_json())
    return VideoIndex(folder, known), len(todo)


def _probe_all(folder: str | Path, media: Sequence[Medium], workers: int) -> Iterator[VideoFacts]:
    for outcome in run_all(partial(probe, folder), media, workers=workers):
        if outcome.value is not None:
            yield outcome.value
        else:  # a file that takes its process down with it
            size, mtime_ns = stamp(os.path.join(folder, outcome.item.path)) or (0, 0)
            reason = outcome.error or "it cannot be probed"
            yield VideoFacts(outcome.item.path, size, mtime_ns, reason, outcome.item.kind, "undecodable")


def print_summary(console: Console, index: VideoIndex) -> None:
    """Print what is in an index: a row for each property, and the files that cannot be read."""
    facts = list(index)
    bad = [one for one in facts if not one.ok]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for name, value in summary(facts):
        table.add_row(f"[bold]{name}[/]", escape(value))
    console.print(table)
    if not bad:
        return
    console.print(f"[red]{len(bad)} cannot be read[/], whole or in part:")
    for one in bad[:_MAX_BAD]:
        console.print(f"  {escape(one.path)}: {escape(one.status)}", soft_wrap=True, highlight=False)
    if len(bad) > _MAX_BAD:
        console.print(f"  ... and {len(bad) - _MAX_BAD} more")
    console.print(
        f"For a full examination: eztorch data check {escape(str(index.folder))}", soft_wrap=True, highlight=False
    )


def summary(facts: Sequence[VideoFacts]) -> list[tuple[str, str]]:
    """Return the properties of media as rows of name and value; what is not known of any has no row."""
    kinds = Counter(one.kind for one in facts)
    bad = sum(not one.ok for one in facts)
    seconds = [one.duration for one in facts if one.duration is not None]
    frames = [one.num_frames for one in facts if one.num_frames is not None]
    keys = [one.key_frame_distance for one in facts if one.key_frame_distance is not None]
    rows = [
        ("media", ", ".join(amount(kinds[kind], *_NAMES[kind]) for kind in KINDS if kinds[kind])),
        ("bad", str(bad) if facts else ""),
        ("size", size(sum(one.size for one in facts)) if kinds["video"] or kinds["image"] else ""),
        ("duration", f"{duration(sum(seconds))} in all; each {spread(seconds, 's')}" if seconds else ""),
        ("frames", spread(frames)),
        ("frame rate", most(f"{float(one.fps):.5g}" for one in facts if one.fps is not None)),
        ("resolution", most(f"{one.width}x{one.height}" for one in facts if one.width is not None)),
        ("codec", most(f"{one.codec} {one.pixel_format}" for one in facts if one.codec is not None)),
        ("key frames", spread(keys, "frames apart at most")),
        ("rotation", most(f"{one.rotation} degrees" for one in facts if one.rotation)),
    ]
    return [(name, value) for name, value in rows if value]


_NAMES = {
    "video": ("video", "videos"),
    "frames": ("folder of frames", "folders of frames"),
    "image": ("image", "images"),
}


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return the smallest, the median and the largest of values; empty for none.

    >>> spread([3, 1, 2], "s")
    '1 to 3 s (median 2)'
    >>> spread([5, 5])
    '5'
    """
    if not values:
        return ""
    low, middle, high = (f"{sorted(values)[place]:.4g}" for place in (0, len(values) // 2, -1))
    return f"{low} {unit}".strip() if low == high else f"{low} to {high} {unit}".strip() + f" (median {middle})"


def most(values: Iterable[str]) -> str:
    """Return the most frequent values and how often each is there.

    >>> most(["25", "30", "25"])
    '25 (2), 30 (1)'
    """
    counts = Counter(values).most_common()
    listed = ", ".join(f"{value} ({number})" for value, number in counts[:_MAX_VALUES])
    return listed + (f" and {len(counts) - _MAX_VALUES} more" if len(counts) > _MAX_VALUES else "")
