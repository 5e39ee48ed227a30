"""The run of `eztorch data bench`: decoders in turns, copies that are faster to read, what follows from it."""

from __future__ import annotations

import json
import math
import os
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eztorch.data.bench.sources import FILE_DECODERS, Source
from eztorch.data.bench.throughput import Speed, common_files, take_turns
from eztorch.data.index.probe import probe
from eztorch.data.prepare.plan import Task, prepare
from eztorch.data.prepare.presets import Recipe
from eztorch.data.progress import progress
from eztorch.data.text import amount, figure, table
from eztorch.datasets.video_index import VideoFacts
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.files import atomic_file
from eztorch.utils.machine import usable_cores

_COPIES = 3  # videos that are made anew to see what it gains
_LONGEST_S = 60.0  # of these, so that it does not take long
_AS_IS, _FORMS = "as they are", ("short-gop", "intra")
_WORTH = 1.2  # times as many clips for which a change is recommended
_TIE = 1.05


class Row(NamedTuple):
    """A line of the result.

    Attributes:
        clips_per_s: Clips per CPU second; None where nothing could be read.
        ratio: To the first line that was read.
        failed: Why files could not be read, by their paths.
        size: Bytes, to those of the sources.
    """

    clips_per_s: float | None
    ratio: float | None
    failed: dict[str, str]
    size: float | None = None


@dataclass
class Result:
    """What was measured.

    Attributes:
        title: What was read.
        facts: What the files are.
        decoders: A row for each decoder.
        copies: A row for each form of the videos, the first for them as they are.
        unavailable: Why decoders cannot be used here.
        chosen: The decoder that the user has chosen.
        number: Number of files.
    """

    title: str
    facts: str
    number: int
    chosen: str | None
    decoders: dict[str, Row]
    copies: dict[str, Row] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """Why files could not be read by any decoder that was tried."""
        rows = list(self.decoders.values())
        return {path: why for path, why in rows[0].failed.items() if all(path in row.failed for row in rows)}

    @property
    def best(self) -> str | None:
        """The fastest decoder; of those that are as good as equal the user's own, or else the first."""
        rates = {name: row.clips_per_s for name, row in self.decoders.items() if row.clips_per_s}
        fast = [name for name, rate in rates.items() if rate * _TIE >= max(rates.values())]
        return (self.chosen if self.chosen in fast else fast[0]) if fast else None

    def advice(self, feed: float | None) -> list[str]:
        """Return what follows from it, in sentences."""
        if self.best is None:
            return ["Nothing could be read; `eztorch data check` says more."]
        rate = self.decoders[self.best].clips_per_s or 0.0
        lines = [self._about_decoder(self.best)]
        lines += [self._about_copies()] if self.copies else []
        lines.append(_about_workers("As it is", rate, feed))
        gain, form = max(((row.ratio or 0.0, name) for name, row in self.copies.items()), default=(0.0, ""))
        if gain >= _WORTH:
            lines.append(_about_workers(f"Prepared ({form})", rate * gain, feed))
        if self.failed:
            share = len(self.failed) / self.number
            lines.append(f"{share:.0%} of the files cannot be read: `eztorch data check` finds all of them.")
        return lines

    def show(self, feed: float | None) -> None:
        """Print it."""
        print(self.title)
        print(self.facts)
        print()
        rows = [("decoder", "clips/s", "ms a clip", "", "unreadable")]
        rows += [(name, *_figures(row), f"{len(row.failed)} of {self.number}") for name, row in self.decoders.items()]
        print(table(rows))
        for name, why in self.unavailable.items():
            print(f"  {name} is not available: {why}")
        if self.copies:
            rows = [("videos", "clips/s", "ms a clip", "", "bytes")]
            rows += [(name, *_figures(row), f"{row.size or 1:.2g}x") for name, row in self.copies.items()]
            print(f"\n{table(rows)}")
        for path, why in self.failed.items():
            print(f"\n  {path}: {why}", end="")
        print("\n" * bool(self.failed))
        print("\n".join(self.advice(feed)))

    def write_json(self, path: Path, feed: float | None) -> None:
        """Write it as JSON."""
        content: dict[str, Any] = {"title": self.title, "files": self.number, "facts": self.facts}
        content |= {
            part: {name: row._asdict() for name, row in getattr(self, part).items()} for part in ("decoders", "copies")
        }
        content |= {"unavailable": self.unavailable, "best": self.best, "advice": self.advice(feed)}
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _about_decoder(self, best: str) -> str:
        if len(self.decoders) == 1:
            return f"Decoder: {best}."
        if best == self.chosen:
            return f"Decoder: {best}, as it is, is the fastest here."
        return f"Decoder: datamodule.decoder={best} is the fastest here."

    def _about_copies(self) -> str:
        better = [
            f"--to {name}: {row.ratio:.1f} times the clips at {row.size:.2g} times the bytes"
            for name, row in self.copies.items()
            if (row.ratio or 0) >= _WORTH
        ]
        if better:
            return f"`eztorch data prepare` is worth it ({'; '.join(better)})."
        return "`eztorch data prepare` would gain little."


def run_bench(source: Source, budget_s: float, *, copies: bool) -> Result:
    """Measure.

    Args:
        source: What is read.
        budget_s: Seconds after which no further round is begun.
        copies: Make copies of some videos that are faster to read, and measure them as well.
    """
    paths = [medium.path for medium in source.media]
    facts = [probe("", medium) for medium in source.media]
    reads, unavailable = {}, {}
    for name in source.decoders:
        try:
            reads[name] = source.read(name)
        except ConfigError as error:
            unavailable[name] = str(error)
    if not reads:
        raise ConfigError("; ".join(unavailable.values()))
    rows = _rows(take_turns(reads, len(paths), budget_s=budget_s), paths)
    result = Result(source.title, describe(facts), len(paths), source.chosen, rows, unavailable=unavailable)
    if copies and result.best is not None:
        decoder = result.best if result.best in FILE_DECODERS else None
        fit = [file for file, one in enumerate(facts) if one.ok and 0 < (one.duration or 0) <= _LONGEST_S]
        if decoder is not None and fit:
            result.copies = _measure_copies(source, decoder, fit[:_COPIES], budget_s)
    return result


def _measure_copies(source: Source, decoder: str, chosen: Sequence[int], budget_s: float) -> dict[str, Row]:
    """Make copies of some of the media, and read them and their sources in turns."""
    originals = {file: os.path.abspath(source.media[file].path) for file in chosen}
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, dict[int, str]] = {_AS_IS: originals}
        with progress("Making copies", len(_FORMS) * len(chosen), "videos") as bar:
            for form in _FORMS:
                made[form] = {}
                for file, path in originals.items():
                    task = Task(path, f"{file}.mp4", "video", 1, 0, "", os.path.join(folder, form), Recipe(to=form))
                    with suppress(DataError):  # what cannot be prepared is not measured
                        prepare(task)
                        made[form][file] = str(task.target_path)
                    bar.advance()
        common = set.intersection(*(set(paths) for paths in made.values()))
        if not common:
            return {}
        paths = {form: {file: path for file, path in files.items() if file in common} for form, files in made.items()}
        reads = {form: source.read(decoder, files) for form, files in paths.items()}
        rows = _rows(take_turns(reads, len(common), budget_s=budget_s), list(paths[_AS_IS].values()))
        sizes = {form: sum(map(os.path.getsize, files.values())) for form, files in paths.items()}
    return {form: row._replace(size=sizes[form] / sizes[_AS_IS]) for form, row in rows.items()}


def _rows(speeds: dict[str, Speed], paths: Sequence[str]) -> dict[str, Row]:
    files = common_files(speeds)
    rates = {name: speed.rate(files) if files & set(speed.seconds) else None for name, speed in speeds.items()}
    first = next((rate for rate in rates.values() if rate), None)
    return {
        name: Row(
            rate,
            rate / first if rate and first else None,
            {paths[file]: why for file, why in speeds[name].failed.items()},
        )
        for name, rate in rates.items()
    }


def describe(facts: Sequence[VideoFacts]) -> str:
    """Say in a line what media are: their sizes, codecs and the distance of key frames."""
    good = [fact for fact in facts if fact.ok]
    if not good:
        return "None of them can be opened."
    sizes = sorted({(fact.width or 0, fact.height or 0) for fact in good}, key=lambda size: size[0] * size[1])
    low, high = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
    parts = [low if low == high else f"{low} to {high}", ", ".join(sorted({str(fact.codec) for fact in good}))]
    distances = [fact.key_frame_distance for fact in good if fact.key_frame_distance]
    if distances:
        parts.append(f"key frames {round(statistics.median(distances))} frames apart (median of the largest distances)")
    return "; ".join(parts)


def _figures(row: Row) -> tuple[str, str, str]:
    if row.clips_per_s is None or row.ratio is None:
        return "-", "-", "-"
    return figure(row.clips_per_s), figure(1000 / row.clips_per_s), f"{row.ratio:.2f}x"


def _about_workers(what: str, rate: float, feed: float | None) -> str:
    if feed is not None:
        return f"{what}: {amount(math.ceil(feed / rate), 'worker')}, a core each, for {feed:g} clips/s."
    cores = usable_cores()
    return f"{what}: {figure(rate)} clips/s for each loader worker, {figure(rate * cores)} with the {cores} cores here."
