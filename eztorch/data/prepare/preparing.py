"""The run of `eztorch data prepare`: over all media, with a ledger, an estimate and a report."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from eztorch.data.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Medium, list_media, suffix
from eztorch.data.pool import Outcome, run_all
from eztorch.data.prepare.plan import Task, ledger_path, make_tasks, prepare, read_ledgers
from eztorch.data.prepare.presets import Recipe
from eztorch.data.progress import Progress, duration, progress
from eztorch.data.shards import Shard
from eztorch.data.text import amount, size
from eztorch.utils.errors import DataError
from eztorch.utils.files import JsonLines

T = TypeVar("T")

_SAMPLE = 8  # media that an estimate is made from
_ESTIMATE_FROM = 16  # done media from which on a run says how large the outcome will be
_FULL = 64 << 20  # bytes that are left on a disk that is called full
_LISTED = 30  # failures that are printed; the ledger has all
_NAMES = {
    "video": ("video", "videos"),
    "frames": ("folder of frames", "folders of frames"),
    "image": ("picture", "pictures"),
}


@dataclass(frozen=True)
class Preparation:
    """All that is to be done.

    Attributes:
        source: Folder of the sources.
        output: Folder of the outputs.
        recipe: How they are made.
        shard: The share that is done here.
        tasks: The media of this share, in the order of their paths.
        is_done: Whether an earlier run has done each.
    """

    source: Path
    output: Path
    recipe: Recipe
    shard: Shard
    tasks: Sequence[Task]
    is_done: Sequence[bool]

    @classmethod
    def plan(cls, source: Path, output: Path, recipe: Recipe, kind: str, shard: Shard) -> Preparation:
        """Look at what there is.

        Raises:
            DataError: There is nothing to do it to, or the output would be among the sources.
        """
        folder, media = _find(source, kind)
        if output.resolve() == folder.resolve() or (folder.resolve() in output.resolve().parents and source.is_dir()):
            raise DataError(f"{output}: the output must not be in the folder of the sources, {folder}.")
        if output.exists() and not output.is_dir():
            raise DataError(f"{output}: this is a file; the output is a folder.")
        tasks = shard.of(make_tasks(str(folder), media, str(output), recipe))
        ledger = read_ledgers(output)
        is_done = [any(map(task.is_done, ledger.get(task.path, []))) for task in tasks]
        return cls(folder, output, recipe, shard, tasks, is_done)

    @property
    def missing(self) -> list[Task]:
        """What is left to do."""
        return [task for task, done in zip(self.tasks, self.is_done, strict=True) if not done]

    def run(self, workers: int) -> bool:
        """Do it, say what came of it, and return whether something failed."""
        missing, start = self.missing, time.monotonic()
        self._introduce(missing, workers)
        if not missing:
            return False
        tally, whole = _Tally(self.output), sum(task.size for task in missing)
        with (
            JsonLines(ledger_path(self.output, self.shard)) as ledger,
            progress("Preparing", len(missing)) as bar,
        ):
            for outcome in run_all(prepare, missing, workers=workers):
                ledger.append(outcome.item.line(outcome.value or {"status": outcome.error}))
                tally.add(outcome, bar)
                bar.advance()
                if outcome.error is not None and _free(self.output) < _FULL:
                    raise DataError(f"{self.output}: the disk is full. What is done is kept: make space, start again.")
                if tally.done == _ESTIMATE_FROM < len(missing):
                    bar.say(f"By the first {tally.done}, {size(whole)} will become about {tally.foretell(whole)}.")
        tally.report(time.monotonic() - start, ledger.path)
        if self.recipe.to == "frames" and tally.done:
            print(f"So that training need not count the frames: eztorch data index {self.output}")
        return bool(tally.failed)

    def estimate(self, workers: int) -> None:
        """Make some of the media in a temporary folder, and say what all would take."""
        missing = self.missing
        self._introduce(missing, workers)
        if not missing:
            return
        sample = spread(missing, _SAMPLE)
        with tempfile.TemporaryDirectory() as folder, progress("Trying", len(sample)) as bar:
            tally, start = _Tally(self.output), time.perf_counter()
            for outcome in run_all(prepare, [task._replace(output_folder=folder) for task in sample], workers=0):
                tally.add(outcome, bar)
                bar.advance()
            seconds = time.perf_counter() - start
        whole = sum(task.size for task in missing)
        if tally.read:
            print(f"By {len(sample)} of them, {size(whole)} would become about {tally.foretell(whole)}.")
            needed = duration(seconds * whole / tally.read / max(1, workers))
            print(f"It would take about {needed} with {amount(max(1, workers), 'process', 'processes')}.")
        else:
            print(f"None of {len(sample)} that were tried could be read.")

    def measure(self, number: int) -> None:
        """Read clips of some videos before and after, and say how much faster it is now."""
        from eztorch.data.bench.throughput import Shape, compare

        ledger = read_ledgers(self.output)
        done = [(task, line) for task in self.tasks for line in ledger.get(task.path, []) if task.is_done(line)]
        sample = spread([pair for pair in done if pair[0].kind == "video"], number)
        if not sample:
            print("There is no video to measure.")
            return
        before, after = ([str(getattr(task, name)) for task, _ in sample] for name in ("source_path", "target_path"))
        rates = [Fraction(line["num_frames"]) / Fraction(line["seconds"]) for _, line in sample]
        print(compare(before, after, rates if self.recipe.to == "frames" else None, Shape()))

    def _introduce(self, missing: Sequence[Task], workers: int) -> None:
        counts = Counter(task.kind for task in self.tasks)
        what = ", ".join(amount(counts[kind], *names) for kind, names in _NAMES.items() if counts[kind])
        share = "" if self.shard.total == 1 else f"share {self.shard}, "
        print(f"{self.source}: {share}{what or 'nothing for this share'}")
        print(f"{self.output}: {self.recipe}")
        done = len(self.tasks) - len(missing)
        if done:
            print(f"{done} done before, {len(missing)} to do.", flush=True)


class _Tally:
    """What came of the media so far."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.done = self.read = self.written = 0
        self.failed: list[Outcome[Task, dict[str, Any]]] = []

    def add(self, outcome: Outcome[Task, dict[str, Any]], bar: Progress) -> None:
        """Count an outcome, and say what failed."""
        if outcome.value is None:
            self.failed.append(outcome)
            bar.say(f"failed: {outcome.item.path}: {outcome.error}")
            return
        self.done += 1
        self.read += outcome.item.size
        self.written += outcome.value["output_bytes"]

    def foretell(self, whole: int) -> str:
        """Say how large the outcome of so many bytes will be, and whether there is space for it."""
        free = _free(self._output)
        wanted = whole * self.written / max(1, self.read)
        return f"{size(wanted)} ({size(free)} are free{', NOT ENOUGH' if wanted > free else ''})"

    def report(self, seconds: float, ledger: Path) -> None:
        """Say what came of everything."""
        if self.done:
            times = f", {self.written / self.read:.2g} times the bytes" if self.read else ""
            print(f"Made {self.done} in {duration(seconds)}: {size(self.read)} became {size(self.written)}{times}.")
        if self.failed:
            print(f"{len(self.failed)} could not be made:")
            for outcome in sorted(self.failed, key=lambda one: one.item.path)[:_LISTED]:
                print(f"  {outcome.item.path}: {outcome.error}")
            if len(self.failed) > _LISTED:
                print(f"  and {len(self.failed) - _LISTED} more; {ledger} has all of them")


def spread(items: Sequence[T], number: int) -> list[T]:
    """Return some of the items, evenly spread; all when there are no more.

    >>> spread("abcdefgh", 3)
    ['a', 'c', 'f']
    """
    return [items[k * len(items) // number] for k in range(number)] if len(items) > number else list(items)


def _find(source: Path, kind: str) -> tuple[Path, list[Medium]]:
    """Return the folder of the sources, and the media in it."""
    if source.is_file():
        kinds = {
            kind
            for kind, suffixes in (("image", IMAGE_SUFFIXES), ("video", VIDEO_SUFFIXES))
            if suffix(source.name) in suffixes
        }
        return source.parent, [Medium(source.name, kinds.pop() if kinds else "video")]
    media = list_media(source, kind)
    if not media:
        raise DataError(f"{source}: there is no {'video or picture' if kind == 'auto' else kind} in this folder.")
    return source, media


def _free(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists())).free
