"""Arguments that several commands share, and the tables that they print."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eztorch.evaluation.measure import MeasureOptions
    from eztorch.evaluation.predictions import Predictions


def add_measures(parser: argparse.ArgumentParser) -> None:
    """Add what to measure."""
    parser.add_argument("--metric", nargs="+", metavar="NAME", help="what to measure; by default all that fits")
    parser.add_argument("--groups", type=Path, help="csv or json of class and group, for accuracies of groups")
    parser.add_argument("--bins", type=int, default=15, help="bins of the calibration errors (15)")
    parser.add_argument("--threshold", type=float, default=0.5, help="least probability of a predicted class (0.5)")


def measure_options(arguments: argparse.Namespace, predictions: Predictions) -> MeasureOptions:
    """Return what measures depend on, for predictions with these classes."""
    from eztorch.evaluation.groups import read_groups
    from eztorch.evaluation.measure import MeasureOptions

    groups = None
    if arguments.groups is not None:
        classes = predictions.scores.shape[1]
        groups = read_groups(arguments.groups, class_names=predictions.class_names, num_classes=classes, key="--groups")
    return MeasureOptions(groups, arguments.bins, arguments.threshold)


def value_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Lay out the values of several columns, a row a measure.

    >>> print(value_table({"rgb": {"acc_1": 0.5, "n_scored": 4.0}, "all": {"acc_1": 0.75, "n_scored": 4.0}}))
                   rgb     all
      acc_1     0.5000  0.7500
      n_scored       4       4
    """
    rows = list(dict.fromkeys(name for values in columns.values() for name in values))
    cells = {name: [_text(values[name]) if name in values else "" for values in columns.values()] for name in rows}
    widths = [max(len(head), *(len(row[place]) for row in cells.values())) for place, head in enumerate(columns)]
    left = max(map(len, rows), default=0)
    lines = [("", list(columns)), *cells.items()]
    return "\n".join(
        f"  {name:<{left}}  {'  '.join(f'{cell:>{width}}' for cell, width in zip(row, widths, strict=True))}".rstrip()
        for name, row in lines
    )


def _text(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.4f}"
