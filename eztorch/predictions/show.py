"""`eztorch predictions show`: what is in a file of predictions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.tables import columns

if TYPE_CHECKING:
    from eztorch.evaluation.predictions import Predictions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", type=Path, help="a file of predictions, *.safetensors")
    parser.add_argument("--rows", type=int, default=5, help="how many videos to show (5)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.evaluation.predictions import Predictions

    predictions = Predictions.load(arguments.file)
    print(f"{arguments.file}\n{columns(_facts(predictions))}\n")
    print(f"Protocol\n{columns(_flat(predictions.protocol))}")
    rows = list(_rows(predictions, arguments.rows))
    if rows:
        print(f"\nThe first {len(rows)}\n{columns(rows)}")
    return 0


def _facts(predictions: Predictions) -> Iterator[tuple[str, str]]:
    videos, classes = predictions.scores.shape
    yield "videos", str(videos)
    yield "classes", f"{classes}{'' if predictions.class_names else ', without names'}"
    yield "labels", "several a video" if predictions.multi_label else "one a video"
    if not predictions.multi_label and bool((predictions.labels < 0).any()):
        yield "without a label", str(int((predictions.labels < 0).sum()))
    if predictions.unanswered is not None:
        yield "not read, count as wrong", str(len(predictions.unanswered.idx))
    if predictions.views is not None:
        yield "views by themselves", str(len(predictions.views.idx))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield from _flat({str(number): one for number, one in enumerate(value, 1)}, f"{prefix}{key}.")
        elif value not in (None, "", []):
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rows(predictions: Predictions, count: int) -> Iterator[tuple[str, str]]:
    for row in range(min(count, len(predictions.idx))):
        name = predictions.names[row] if predictions.names else str(int(predictions.idx[row]))
        best = int(predictions.scores[row].argmax())
        told = f"{_class(predictions, best)} ({float(predictions.scores[row, best]):.3f})"
        yield name, f"{_label(predictions, row)}, predicted {told}"


def _label(predictions: Predictions, row: int) -> str:
    label = predictions.labels[row]
    if predictions.multi_label:
        there = (label >= 0.5).nonzero().flatten().tolist()
        return "is " + (" and ".join(_class(predictions, one) for one in there) or "nothing")
    return f"is {_class(predictions, int(label))}" if label >= 0 else "has no label"


def _class(predictions: Predictions, place: int) -> str:
    return predictions.class_names[place] if predictions.class_names else str(place)
