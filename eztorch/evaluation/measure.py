"""All that can be measured of predictions, by name, and what there is to say of each class."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eztorch.evaluation.groups import ClassGroups
from eztorch.evaluation.metrics import calibration, one_label, several_labels
from eztorch.evaluation.predictions import Predictions
from eztorch.models.average_precision import average_precision
from eztorch.utils.errors import ConfigError
from eztorch.utils.files import atomic_file
from eztorch.utils.names import did_you_mean
from eztorch.utils.values import as_count


@dataclass(frozen=True)
class MeasureOptions:
    """What measures depend on.

    Attributes:
        groups: Groups of classes; None for none.
        bins: Number of bins of the calibration errors.
        threshold: From which probability on a class counts as told, where a sample has several.

    Raises:
        ConfigError: A value cannot be.
    """

    groups: ClassGroups | None = None
    bins: int = 15
    threshold: float = 0.5

    def __post_init__(self) -> None:
        as_count(self.bins, "bins")
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold={self.threshold}; expected a probability from 0 to 1.")


class _Answers(NamedTuple):
    """What a measure is computed from; see `Predictions` and `MeasureOptions`."""

    scores: Tensor
    labels: Tensor
    unanswered: Tensor | None
    options: MeasureOptions

    @property
    def groups(self) -> Tensor:
        if self.options.groups is None:
            raise ConfigError("Accuracies of groups need to know them; give groups, a csv or json of class and group.")
        return self.options.groups.of(self.scores.shape[1])


_Measure = Callable[[_Answers], Tensor]
_ACCURACY = re.compile(r"acc_(\d+)")


def _group(by: str) -> _Measure:
    return lambda a: one_label.group_accuracy(a.scores, a.labels, a.groups, by=by, unanswered=a.unanswered)


def _bins(a: _Answers) -> calibration.ReliabilityBins:
    return calibration.reliability_bins(a.scores, a.labels, bins=a.options.bins)


def _at_threshold(measure: Callable[..., Tensor], average: str) -> _Measure:
    return lambda a: measure(
        a.scores, a.labels, threshold=a.options.threshold, average=average, unanswered=a.unanswered
    )


_ONE_LABEL: Mapping[str, _Measure] = {
    "mean_class_acc": lambda a: one_label.mean_class_accuracy(a.scores, a.labels, unanswered=a.unanswered),
    "group_acc_sum": _group("sum"),
    "group_acc_argmax": _group("argmax"),
    "nll": lambda a: calibration.negative_log_likelihood(a.scores, a.labels),
    "brier": lambda a: calibration.brier_score(a.scores, a.labels),
    "ece": lambda a: calibration.expected_calibration_error(_bins(a)),
    "mce": lambda a: calibration.maximum_calibration_error(_bins(a)),
}
_SEVERAL_LABELS: Mapping[str, _Measure] = {
    "map": lambda a: several_labels.mean_average_precision(a.scores, a.labels, unanswered=a.unanswered),
    "f1_micro": _at_threshold(several_labels.f1_score, "micro"),
    "f1_macro": _at_threshold(several_labels.f1_score, "macro"),
    "iou": _at_threshold(several_labels.jaccard, "samples"),
    "iou_micro": _at_threshold(several_labels.jaccard, "micro"),
    "iou_macro": _at_threshold(several_labels.jaccard, "macro"),
    "top_set_acc": lambda a: several_labels.top_set_accuracy(a.scores, a.labels, unanswered=a.unanswered),
}
# Of which the smaller value is the better one.
_LOSSES = ("nll", "brier", "ece", "mce")
_OF_GROUPS = "group_acc_"


def default_names(num_classes: int, *, multi_label: bool, groups: bool) -> list[str]:
    """Return the measures that are taken where none are named.

    >>> default_names(10, multi_label=True, groups=False)
    ['acc_1', 'acc_5', 'map', 'f1_micro', 'f1_macro', 'iou', 'iou_micro', 'iou_macro', 'top_set_acc']
    """
    accuracies = ["acc_1", "acc_5"] if num_classes > 5 else ["acc_1"]
    if multi_label:
        return [*accuracies, *_SEVERAL_LABELS]
    return [*accuracies, *(name for name in _ONE_LABEL if groups or not name.startswith(_OF_GROUPS))]


def check_names(names: Sequence[str], key: str = "metrics") -> None:
    """Check that measures of these names exist.

    Args:
        names: The names.
        key: Where they came from, for the message.

    Raises:
        ConfigError: One does not.

    >>> check_names(["acc_3", "ece"])
    """
    known = ("acc_1", "acc_5", *_ONE_LABEL, *_SEVERAL_LABELS)
    for name in names:
        if name not in known and _ACCURACY.fullmatch(str(name)) is None:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{key}: there is no {name!r}; expected acc_K, {', '.join(known[2:])}.{hint}")


def measure(
    predictions: Predictions, names: Sequence[str] | None = None, options: MeasureOptions | None = None
) -> dict[str, float]:
    """Measure predictions.

    Accuracies, precisions and overlaps are over the samples without an answer too, as wrong ones; `nll`, `brier`, `ece`
    and `mce` are about probabilities, which these do not have.

    Args:
        predictions: The predictions.
        names: What to measure; None for all that fits.
        options: What measures depend on.

    Returns:
        The values by name; `n_scored`, the number of videos with a label and scores; and `n_classes`, the number of
        classes that a sample has, over which `mean_class_acc`, `map` and the macro averages are. Without such a video,
        `n_scored` alone.

    Raises:
        ConfigError: A name is not known, or does not go with these labels.

    >>> two = Predictions(torch.arange(2), torch.tensor([0, 1]), torch.tensor([[0.8, 0.2], [0.6, 0.4]]))
    >>> measure(two, ["acc_1", "mean_class_acc"])
    {'acc_1': 0.5, 'mean_class_acc': 0.5, 'n_scored': 2.0, 'n_classes': 2.0}
    """
    options = options or MeasureOptions()
    num_classes, multi_label = predictions.scores.shape[1], predictions.multi_label
    if names is None:
        names = default_names(num_classes, multi_label=multi_label, groups=options.groups is not None)
    check_names(names)
    unanswered = predictions.unanswered_labels
    answers = _Answers(predictions.scores.double(), predictions.labels, unanswered, options)
    has_label = torch.ones(len(predictions.idx), dtype=torch.bool) if multi_label else predictions.labels >= 0
    if not bool(has_label.any()):
        return {"n_scored": 0.0}
    values = {name: float(_measure(name, multi_label=multi_label)(answers)) for name in names}
    counts = _class_counts(predictions)
    return {**values, "n_scored": float(has_label.sum()), "n_classes": float((counts > 0).sum())}


def is_better(name: str, value: float, other: float) -> bool:
    """Say whether a value of a measure is better than another one.

    >>> is_better("acc_1", 0.8, 0.7), is_better("nll", 0.8, 0.7)
    (True, False)
    """
    return value < other if name in _LOSSES else value > other


def _measure(name: str, *, multi_label: bool) -> _Measure:
    accuracy = _ACCURACY.fullmatch(name)
    if accuracy is not None:
        of_k = several_labels.any_top_k_accuracy if multi_label else one_label.top_k_accuracy
        k = int(accuracy[1])
        return lambda a: of_k(a.scores, a.labels, k, unanswered=a.unanswered)
    table, other = (_SEVERAL_LABELS, _ONE_LABEL) if multi_label else (_ONE_LABEL, _SEVERAL_LABELS)
    if name in other:
        kinds = ("one label", "several") if multi_label else ("several labels", "one")
        raise ConfigError(
            f"{name} is about samples with {kinds[0]}, and these have {kinds[1]}; use {', '.join(table)}."
        )
    return table[name]


def _class_counts(predictions: Predictions) -> Tensor:
    unanswered = predictions.unanswered_labels
    if not predictions.multi_label:
        return one_label.class_counts(predictions.labels, predictions.scores.shape[1], unanswered=unanswered)
    every = predictions.labels if unanswered is None else torch.cat([predictions.labels, unanswered])
    return (every >= 0.5).sum(dim=0)


def class_table(predictions: Predictions) -> list[dict[str, Any]]:
    """Return what there is to say of each class, a row a class.

    Returns:
        Rows with `class`, `name` and `n`, the number of its samples. Where a sample has one label, `accuracy`, and
        `most_confused_with`, the other class that most of its samples were taken for, with its name and their number;
        where it has several, `average_precision`. Empty where there is nothing to say.
    """
    if not predictions.scores.shape[1]:
        return []
    counts, names = _class_counts(predictions).tolist(), predictions.class_names
    unanswered = predictions.unanswered_labels
    scores, labels = predictions.scores.double(), predictions.labels
    rows: list[dict[str, Any]] = [
        {"class": index, "name": names[index] if names else "", "n": count} for index, count in enumerate(counts)
    ]
    if predictions.multi_label:
        precisions = average_precision(*several_labels.with_unanswered(scores, labels, unanswered))
        return [
            row | {"average_precision": "" if value != value else round(value, 6)}
            for row, value in zip(rows, precisions.tolist(), strict=True)
        ]
    accuracies = one_label.class_accuracies(scores, labels, unanswered=unanswered).tolist()
    confused = one_label.confusion_matrix(scores, labels)
    confused.fill_diagonal_(0)
    for row, accuracy, others in zip(rows, accuracies, confused, strict=True):
        most = int(others.argmax()) if len(others) else 0
        is_confused = int(others.sum()) > 0
        row["accuracy"] = round(accuracy, 6) if row["n"] else ""
        row["most_confused_with"] = most if is_confused else ""
        row["its_name"] = names[most] if is_confused and names else ""
        row["its_n"] = int(others[most]) if is_confused else ""
    return rows


def write_class_table(predictions: Predictions, path: Path) -> None:
    """Write `class_table` as csv."""
    rows = class_table(predictions)
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["class"])
        writer.writeheader()
        writer.writerows(rows)
