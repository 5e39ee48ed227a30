"""What runs have in common and in what they differ, as tables of text."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eztorch.compare.runs import Run
from eztorch.engine.sweep import MAIN_METRICS
from eztorch.utils.names import choose

_HIGHER, _LOWER = ("acc", "map", "recall", "precision", "f1", "auc"), ("loss", "error", "ece", "nll")
_COUNTS = ("n_evaluated", "n_expected")  # stand beside what they are of
_OF_THE_MACHINE = ("lr-", "time/")  # how a run went, and not what came out
_SIDE_BY_SIDE = 4  # runs that are columns; more of them are rows
_ABSENT = "\N{EN DASH}"
BEST = " \N{BLACK STAR}"


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Above it.
        header: Names of the columns.
        rows: The cells; the first of a row names it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: In the order in which they are shown.
        metrics: Names of the metrics that are shown, the most important first.
        patterns: The patterns that were asked for, None for all metrics.
    """

    runs: Sequence[Run]
    metrics: Sequence[str]
    patterns: Sequence[str] | None = None

    @property
    def labels(self) -> list[str]:
        """Number and name of each run."""
        return [f"{number}: {run.name}" for number, run in enumerate(self.runs, start=1)]

    def results(self) -> Table:
        """Return the metrics of all runs, the best value of each marked where it is known which is better."""
        cells = {name: self._cells(name) for name in self.metrics}
        if len(self.runs) <= _SIDE_BY_SIDE:
            return Table("Metrics", ("metric", *self.labels), [(name, *cells[name]) for name in self.metrics])
        rows = [(label, *(cells[name][place] for name in self.metrics)) for place, label in enumerate(self.labels)]
        return Table("Metrics", ("run", *self.metrics), rows)

    def speeds(self) -> Table:
        """Return the speed of the runs that have measured it."""
        speeds = [run.speed() for run in self.runs]
        names = list(dict.fromkeys(name for one in speeds for name in one))
        rows = [
            (label, *(f"{one[name]:.3g}" if name in one else _ABSENT for name in names))
            for label, one in zip(self.labels, speeds, strict=True)
            if one
        ]
        return Table("Speed", ("run", *names), rows)

    def configuration(self) -> Table:
        """Return the keys of the configuration in which runs differ."""
        return self._differing("Differences of the configuration", "key", [run.config for run in self.runs])

    def surroundings(self) -> Table:
        """Return in what machine, versions and state of the code differ."""
        return self._differing("Differences of the surroundings", "fact", [run.environment for run in self.runs])

    def notes(self) -> Table:
        """Return what is missing of each run."""
        rows = [(label, "; ".join(run.notes)) for label, run in zip(self.labels, self.runs, strict=True) if run.notes]
        return Table("Notes", ("run", "note"), rows)

    def tables(self) -> list[Table]:
        """Return the tables that have a row."""
        found = (self.results(), self.speeds(), self.configuration(), self.surroundings(), self.notes())
        return [table for table in found if table.rows]

    def as_json(self, broken: Sequence[str]) -> dict[str, Any]:
        """Return all of it as JSON has it; numbers that JSON does not know are null.

        Args:
            broken: Why other runs are left out.
        """
        differing = {
            "config": _differing_keys([run.config for run in self.runs]),
            "environment": _differing_keys([run.environment for run in self.runs]),
        }
        runs = [
            {
                "name": run.name,
                "path": str(run.path),
                "metrics": {name: _finite(run.metrics[name]) for name in run.metrics if self._is_told(name)},
                "speed": {name: _finite(value) for name, value in run.speed().items()},
                **{
                    part: {key: _plain(values[key]) for key in keys if key in values}
                    for (part, keys), values in zip(differing.items(), (run.config, run.environment), strict=True)
                },
                "notes": list(run.notes),
            }
            for run in self.runs
        ]
        return {"runs": runs, "left_out": list(broken)}

    def _is_told(self, name: str) -> bool:
        return self.patterns is None or name in self.metrics or is_count(name)

    def _cells(self, name: str) -> list[str]:
        values = [run.metrics.get(name, math.nan) for run in self.runs]
        known = [value for value in values if math.isfinite(value)]
        sign = direction(name)
        best = (
            None if not sign or len(known) < 2 or min(known) == max(known) else max(known, key=lambda one: sign * one)
        )
        return [
            _ABSENT if name not in run.metrics else f"{value:.4g}{_evaluated(run, name)}{BEST if value == best else ''}"
            for run, value in zip(self.runs, values, strict=True)
        ]

    def _differing(self, title: str, kind: str, facts: Sequence[Mapping[str, Any]]) -> Table:
        """Return a table of what differs: a column a run, or, for many runs, which of them have which value."""
        keys = _differing_keys(facts)
        if len(self.runs) <= _SIDE_BY_SIDE:
            rows = [(key, *(_shown(one, key) for one in facts)) for key in keys]
            return Table(title, (kind, *self.labels), rows)
        return Table(title, (kind, "values, and the numbers of the runs that have them"), [
            (key, "; ".join(_grouped([_shown(one, key) for one in facts]))) for key in keys
        ])  # fmt: skip


def compare(runs: Sequence[Run], *, patterns: Sequence[str] | None = None, sort: str | None = None) -> Comparison:
    """Put runs side by side.

    Args:
        runs: The runs.
        patterns: Patterns of metrics; by default all that say something of the result.
        sort: The metric by which they are ordered, the best first; those without it come last.

    Raises:
        ConfigError: There is no such metric.
    """
    names = dict.fromkeys(name for run in runs for name in sorted(run.metrics))
    first = [name for name in (*(run.objective for run in runs), *MAIN_METRICS) if name in names]
    ordered = list(dict.fromkeys([*first, *sorted(names)]))
    chosen = [name for name in ordered if _is_result(name)]
    if patterns is not None:
        for pattern in patterns:
            if not fnmatch.filter(ordered, pattern):
                choose(names, pattern, "--metric")
        chosen = [name for name in ordered if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    if sort is not None:
        choose(names, sort, "--sort")
        sign = direction(sort) or 1
        runs = sorted(runs, key=lambda run: _rank(run, sort, sign))
    return Comparison(tuple(runs), chosen, patterns)


def direction(name: str) -> int:
    """Return 1 for a metric that is better the higher it is, -1 the lower, 0 where that is not known.

    >>> [direction(name) for name in ("knn/acc_1", "pretrain/loss", "health/std", "health/loss_over_chance")]
    [1, -1, 0, 0]
    """
    words = name.rpartition("/")[2].split("_")
    if words[-1] in _LOWER:
        return -1
    return int(any(word in _HIGHER for word in words))


def is_count(name: str) -> bool:
    """Say whether a metric is a number of samples, which stands beside what was measured on them."""
    return name.rpartition("/")[2] in _COUNTS


def _is_result(name: str) -> bool:
    return not is_count(name) and not name.startswith(_OF_THE_MACHINE)


def _rank(run: Run, name: str, sign: int) -> tuple[bool, float]:
    value = run.metrics.get(name, math.nan)
    return (True, 0.0) if math.isnan(value) else (False, -sign * value)


def _evaluated(run: Run, name: str) -> str:
    """Return of how many samples an accuracy is, and how many there are."""
    prefix = name.rpartition("/")[0]
    counts = [run.metrics.get(f"{prefix}/{count}") for count in _COUNTS]
    if direction(name) != 1 or None in counts:
        return ""
    return f" ({counts[0]:.0f}/{counts[1]:.0f})"


def _differing_keys(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys whose values are not all the same; runs of which nothing is known do not count."""
    known = [one for one in facts if one]
    keys = dict.fromkeys(key for one in known for key in one)
    return [key for key in keys if any(key not in one or one[key] != known[0].get(key) for one in known)]


def _shown(facts: Mapping[str, Any], key: str) -> str:
    return _text(facts[key]) if key in facts else _ABSENT


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _grouped(values: Sequence[str]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for number, value in enumerate(values, start=1):
        groups.setdefault(value, []).append(str(number))
    return [f"{value} ({', '.join(numbers)})" for value, numbers in groups.items()]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Return a value of a configuration as JSON can have it: what it does not know, as text."""
    is_known = value is None or isinstance(value, str | int | list | dict)
    return value if is_known or (isinstance(value, float) and math.isfinite(value)) else str(value)
