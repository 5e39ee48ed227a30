"""Run directories: where they are, and what is in them."""

from __future__ import annotations

import csv
import glob
import json
import os
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from eztorch.engine.explain import flatten
from eztorch.utils.errors import DataError
from eztorch.visualization.curves import Curve, read_metrics

T = TypeVar("T")
_FILES = ("config.yaml", "metrics.json", "metrics.csv")  # a folder with one of them is a run directory
_LEVELS = 3  # that runs are below a folder at most
# Where a run is says nothing of what it does.
_PLACES = ("dir.run", "dir.root", "dir.exp")
_HERE = "${dir.run}"


@dataclass(frozen=True)
class Run:
    """What a run left.

    Attributes:
        name: What tells it from the others: its path without what all have in common.
        path: Its directory.
        metrics: The last value of every metric.
        curves: Steps and values of every metric over time.
        config: Its configuration, dotted keys and values; folders in the run directory are written as `${dir.run}`.
        environment: Machine, versions and state of the code, dotted keys and values.
        objective: The metric that its configuration names, None for none.
        notes: What is missing or cannot be read.
    """

    name: str
    path: Path
    metrics: Mapping[str, float]
    curves: Mapping[str, Curve]
    config: Mapping[str, Any]
    environment: Mapping[str, str]
    objective: str | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def speed(self) -> dict[str, float]:
        """Return the median of samples per second, and of the share of time spent waiting for data, where known."""
        names = {"samples/s": "time/samples_per_s", "waiting for data": "time/data_wait"}
        return {label: statistics.median(self.curves[name][1]) for label, name in names.items() if name in self.curves}


class FoundRuns(NamedTuple):
    """Runs, and why others are left out.

    Attributes:
        runs: Those that have a metric or a configuration.
        broken: A line for each other, which names it.
    """

    runs: list[Run]
    broken: list[str]


def find_runs(words: Sequence[str]) -> FoundRuns:
    """Find and read runs.

    Args:
        words: Run directories or files in them, folders of runs, or patterns of these.

    Returns:
        Each run once, in the order of the words; those of a folder in the order of their numbers.

    Raises:
        DataError: Nothing is left.
    """
    folders: dict[Path, None] = {}
    broken = []
    for word in words:
        found = list(_folders(word))
        folders.update(dict.fromkeys(found))
        if not found:
            broken.append(f"{word}: {_why_nothing(word)}")
    runs = []
    for run in map(read_run, folders):
        if run.metrics or run.config:
            runs.append(run)
        else:
            broken.append(f"{run.path}: {'; '.join(run.notes)}")
    if not runs:
        raise DataError("there is no run to compare.\n" + "\n".join(f"  {reason}" for reason in broken))
    names = short_names([run.path for run in runs])
    return FoundRuns([replace(run, name=name) for run, name in zip(runs, names, strict=True)], broken)


def read_run(folder: Path) -> Run:
    """Read a run directory; a file that is missing or broken is noted, and what it would have said is empty."""
    notes: list[str] = []
    config = _read(folder / "config.yaml", _read_config, notes)
    environment = _read(folder / "environment.json", _read_environment, notes)
    curves = _read(folder / "metrics.csv", read_metrics, notes)
    metrics = _read(folder / "metrics.json", _read_metrics, notes)
    if not metrics and curves:
        notes.append("it runs, or was stopped: the last values of metrics.csv are shown")
        metrics = {name: values[-1] for name, (_, values) in curves.items()}
    objective = config.get("objective")
    return Run(folder.name, folder, metrics, curves, config, environment, objective, tuple(notes))


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return the paths of folders without the part that all have in common.

    >>> short_names([Path("/out/a/sce"), Path("/out/b/sce")]), short_names([Path("/out/sce")])
    (['a/sce', 'b/sce'], ['sce'])
    """
    common = os.path.commonpath([folder.parent for folder in folders])
    return [os.path.relpath(folder, common) for folder in folders]


def _folders(word: str) -> Iterator[Path]:
    paths = [Path(word)] if os.path.exists(word) else [Path(one) for one in _by_number(glob.glob(word))]
    for path in paths:
        path = path.absolute()
        if path.is_dir():
            yield from _runs_in(Path(os.path.normpath(path)), _LEVELS)
        elif _is_run(path.parent):
            yield Path(os.path.normpath(path.parent))


def _runs_in(folder: Path, levels: int) -> Iterator[Path]:
    """Yield a folder if it is a run, and the runs in it if it is none, or if a multirun wrote them there."""
    if _is_run(folder):
        yield folder
        if not (folder / "multirun.csv").is_file():
            return
    if levels:
        for name in _by_number(one.name for one in os.scandir(folder) if one.is_dir()):
            yield from _runs_in(folder / name, levels - 1)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _FILES)


def _by_number(names: Iterable[str]) -> list[str]:
    """Sort names with their numbers as numbers: 2_b before 10_a."""

    def parts(name: str) -> list[str | int]:
        return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name))]

    return sorted(names, key=parts)


def _why_nothing(word: str) -> str:
    path = Path(word)
    if path.is_dir():
        return f"neither it nor a folder in it has one of {', '.join(_FILES)}"
    return "its folder is no run directory" if path.exists() else "there is no such folder, and none like it"


def _read(path: Path, read: Callable[[Path], dict[str, T]], notes: list[str]) -> dict[str, T]:
    try:
        return read(path)
    except FileNotFoundError:
        notes.append(f"no {path.name}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
        notes.append(f"{path.name} cannot be read ({' '.join(str(error).split())[:120]})")
    return {}


def _read_config(path: Path) -> dict[str, Any]:
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(tree, Mapping):
        raise ValueError("it is no mapping")
    keys = dict(flatten(tree))
    place = keys.get("dir.run")
    if isinstance(place, str) and place:
        keys = {key: _without(value, place) for key, value in keys.items()}
    return {key: value for key, value in keys.items() if key not in _PLACES}


def _without(value: Any, place: str) -> Any:
    return value.replace(place, _HERE) if isinstance(value, str) else value


def _read_environment(path: Path) -> dict[str, str]:
    from eztorch.visualization.page import flat_facts

    return dict(flat_facts(json.loads(path.read_text(encoding="utf-8"))))


def _read_metrics(path: Path) -> dict[str, float]:
    return {str(name): float(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()}
