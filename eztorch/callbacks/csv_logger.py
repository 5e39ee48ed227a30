"""A table of all metrics, for people and for the report."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from eztorch.utils.files import atomic_file

_STEP = "step"


class MetricsCSV(Logger):
    """Writes every metric to a CSV file: a row a step, a column a metric, the file complete after every writing.

    A metric that appears late adds a column. A run that is continued keeps the rows of the steps before it, see
    `start_at`.

    Args:
        path: The file, `metrics.csv` of the run directory; made when there is something to write.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.file = Path(path)
        self._columns: list[str] = []
        self._row: dict[str, Any] = {}  # the last row, and where in the file it begins
        self._row_begin = 0

    @property
    def name(self) -> str:
        """Return an empty name: the logger has no folder of its own."""
        return ""

    @property
    def version(self) -> str:
        """Return an empty version: there is one file a run."""
        return ""

    @property
    def save_dir(self) -> str:
        """Return the folder of the file."""
        return str(self.file.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the configuration stands in `config.yaml`."""

    @rank_zero_only
    def start_at(self, step: int) -> None:
        """Drop the rows at or beyond a step: what the run wrote after the checkpoint that it continues from."""
        if self.file.exists():
            self._columns, rows = _read(self.file)
            self._write_table(row for row in rows if int(row[_STEP]) < step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics; they join the last row when it is of the same step."""
        if not self._columns:
            self._open()
        if self._row.get(_STEP) != (step or 0):
            self._row, self._row_begin = {_STEP: step or 0}, self.file.stat().st_size
        self._row.update(metrics)
        os.truncate(self.file, self._row_begin)
        new = [name for name in self._row if name not in self._columns]
        if new:
            _, rows = _read(self.file)
            self._columns += new
            self._write_table(rows)
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(self._row)

    def _open(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.touch()
        self._columns, _ = _read(self.file)

    def _write_table(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the file anew with the present columns; it is whole at any moment, the old or the new one."""
        with atomic_file(self.file) as draft, draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        self._row_begin = self.file.stat().st_size


def _read(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    with file.open(newline="") as lines:
        table = csv.DictReader(lines)
        rows = list(table)
        return list(table.fieldnames or ()), rows
