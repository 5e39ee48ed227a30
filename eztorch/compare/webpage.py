"""A comparison in a page that opens offline, with the curves of all runs in one picture a metric."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from eztorch.compare.comparison import Comparison, Table, direction, is_count
from eztorch.utils.errors import ConfigError
from eztorch.visualization.curves import Chart
from eztorch.visualization.page import charts, page, section, table, text

_NAMED = 6  # runs that have their names in a legend; more have their numbers
_LONGEST_LABEL = 30


def write_page(comparison: Comparison, broken: Sequence[str], path: Path) -> None:
    """Write the page.

    Args:
        comparison: What to show.
        broken: Why other runs are left out.
        path: The file; its folder is made when it is not there.

    Raises:
        ConfigError: The file is no page by its name.
    """
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise ConfigError(f"--output {path}: expected a file whose name ends in .html.")
    tables = [section(one.title, table(one.header, one.rows, short=_num_short(one))) for one in comparison.tables()]
    left_out = "".join(f"<p>Left out: {text(reason)}</p>" for reason in broken)
    listed = zip(comparison.labels, (str(run.path) for run in comparison.runs), strict=True)
    body = [
        left_out,
        *tables[:1],
        section("Curves", charts(shared_charts(comparison))),
        *tables[1:],
        section("Where they are", table(("run", "directory"), listed), is_open=False),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(f"{len(comparison.runs)} runs side by side", body), encoding="utf-8")


def _num_short(table: Table) -> int:
    """Return how many columns, from the left, have cells that need not be broken: names of runs, and numbers."""
    columns = zip(*table.rows, strict=True)
    return sum(1 for _ in takewhile(lambda column: max(map(len, column)) <= _LONGEST_LABEL, columns))


def shared_charts(comparison: Comparison) -> list[Chart]:
    """Return a chart for each metric that several runs have over time, or the one run that there is.

    Args:
        comparison: The runs; patterns of metrics choose among their curves, too.
    """
    labels = comparison.labels if len(comparison.runs) <= _NAMED else [str(i + 1) for i in range(len(comparison.runs))]
    labels = [
        f"{one[: _LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}" if len(one) > _LONGEST_LABEL else one for one in labels
    ]
    names = dict.fromkeys([*comparison.metrics, *sorted(name for run in comparison.runs for name in run.curves)])
    found = []
    for name in names:
        if comparison.patterns is not None and not any(fnmatch.fnmatchcase(name, one) for one in comparison.patterns):
            continue
        curves = {
            label: run.curves[name] for label, run in zip(labels, comparison.runs, strict=True) if name in run.curves
        }
        is_curve = any(len(values) > 1 for _, values in curves.values())
        if is_curve and not is_count(name) and len(curves) >= min(2, len(comparison.runs)):
            values = [value for _, numbers in curves.values() for value in numbers]
            is_share = direction(name) == 1 and min(values) >= 0 and max(values) <= 1
            found.append(Chart(name, curves, is_share=is_share, is_noisy=True))
    return found
