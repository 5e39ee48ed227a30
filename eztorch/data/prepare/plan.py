"""What `eztorch data prepare` has to do, what it has done before, and doing it to one medium."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from eztorch.data.index.probe import FAILURES, probe
from eztorch.data.listing import Medium
from eztorch.data.pictures import shrink_folder, shrink_picture
from eztorch.data.prepare.presets import Recipe
from eztorch.data.prepare.recode import extract_frames, recode_video
from eztorch.data.shards import Shard
from eztorch.datasets.decoders.errors import brief
from eztorch.datasets.video_index import stamp
from eztorch.utils.errors import DataError
from eztorch.utils.files import atomic_file, atomic_folder, read_json_lines

LEDGER = "eztorch_prepared"


class Task(NamedTuple):
    """A medium that is to be made anew.

    Attributes:
        path: Path of the medium from the folder of the sources, with `/`.
        target: Path of what is made, from the folder of the outputs.
        kind: See `eztorch.data.listing.Medium`.
        size: Bytes of the source.
        mtime_ns: When it was changed.
        source_folder: Folder of the sources.
        output_folder: Folder of the outputs.
        recipe: How it is made.
    """

    path: str
    target: str
    kind: str
    size: int
    mtime_ns: int
    source_folder: str
    output_folder: str
    recipe: Recipe

    @property
    def source_path(self) -> Path:
        """The medium."""
        return Path(self.source_folder, self.path)

    @property
    def target_path(self) -> Path:
        """What is made of it."""
        return Path(self.output_folder, self.target)

    @property
    def is_folder(self) -> bool:
        """Whether a folder of pictures is made."""
        return self.kind == "frames" or (self.kind == "video" and self.recipe.to == "frames")

    def is_done(self, line: Mapping[str, Any]) -> bool:
        """Say whether a line of the ledger is about this task as it is now, and its outcome still there."""
        now = {**self._key(), "status": "ok"}
        return all(line.get(key) == value for key, value in now.items()) and self._is_there(line)

    def line(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        """Return the line of the ledger for an outcome."""
        return {**self._key(), **outcome}

    def _is_there(self, line: Mapping[str, Any]) -> bool:
        try:
            if self.is_folder:  # its files are counted, not looked at one by one
                return len(os.listdir(self.target_path)) == int(line["num_frames"])
            return self.target_path.stat().st_size == int(line["output_bytes"])
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _key(self) -> dict[str, Any]:
        facts = {"path": self.path, "output": self.target, "size": self.size, "mtime_ns": self.mtime_ns}
        return facts | {"recipe": self.recipe.facts(self.kind)}


def make_tasks(source: str, media: Iterable[Medium], output: str, recipe: Recipe) -> list[Task]:
    """Plan what is made of media. Where the names of several would become one, these keep their suffixes."""
    wanted = {medium: target_of(medium, recipe) for medium in media}
    often = Counter(target.lower() for target in wanted.values())  # some file systems do not tell A.mp4 from a.mp4
    tasks = []
    for medium, short in wanted.items():
        target = (
            short if often[short.lower()] == 1 else f"{medium.path}{'.frames' if recipe.to == 'frames' else '.mp4'}"
        )
        path = Path(source, medium.path)
        size, (_, mtime_ns) = stored_bytes(path) or 0, stamp(path) or (0, 0)  # a link may lead nowhere
        tasks.append(Task(medium.path, target, medium.kind, size, mtime_ns, source, output, recipe))
    return tasks


def target_of(medium: Medium, recipe: Recipe) -> str:
    """Return the path of what is made of a medium.

    >>> target_of(Medium("a/b.c.avi", "video"), Recipe()), target_of(Medium("b.avi", "video"), Recipe(to="frames"))
    ('a/b.c.mp4', 'b')
    """
    if medium.kind != "video":
        return medium.path
    path = PurePosixPath(medium.path)
    return str(path.with_suffix("") if recipe.to == "frames" else path.with_suffix(".mp4"))


def read_ledgers(output: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of all ledgers of a folder by the path of the source; several, as shares may have changed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(Path(output).glob(f"{LEDGER}*.jsonl")):
        for line in read_json_lines(path):
            found.setdefault(line.get("path", ""), []).append(line)
    return found


def ledger_path(output: str | Path, shard: Shard) -> Path:
    """Return the ledger of a share: each has its own, so that machines do not write to one file."""
    share = "" if shard.total == 1 else f".{shard.number}-of-{shard.total}"
    return Path(output, f"{LEDGER}{share}.jsonl")


def stored_bytes(path: Path) -> int | None:
    """Return the bytes of a file, or of the files in a folder; None where there is neither."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return sum(entry.stat().st_size for entry in entries if entry.is_file())
        return path.stat().st_size
    except FileNotFoundError:
        return None


def prepare(task: Task) -> dict[str, Any]:
    """Make a medium anew.

    Returns:
        What the ledger says of it.

    Raises:
        DataError: It cannot be read.
    """
    make = _MAKERS["extract" if task.kind == "video" and task.is_folder else task.kind]
    if task.kind != "image":  # whose errors show when it is read; a video may just end too early
        facts = probe(task.source_folder, Medium(task.path, task.kind))
        if not facts.ok:
            raise DataError(facts.status)
    try:
        with (atomic_folder if task.is_folder else atomic_file)(task.target_path) as temporary:
            made = make(task.source_path, temporary, task.recipe)
    except FAILURES as error:
        raise DataError(brief(error) or type(error).__name__) from error
    outcome = {"status": "ok", "output_bytes": stored_bytes(task.target_path), "num_frames": made.num_frames}
    return outcome | ({} if made.seconds is None else {"seconds": made.seconds})


_MAKERS = {"video": recode_video, "extract": extract_frames, "image": shrink_picture, "frames": shrink_folder}
