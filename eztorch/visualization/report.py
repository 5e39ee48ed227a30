"""The report of a run: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eztorch.visualization.curves import Chart, Curve, read_metrics
from eztorch.visualization.page import charts as chart_row
from eztorch.visualization.page import flat_facts, page, section, table, text, tiles, wide_picture

_LOSSES = ("pretrain/loss", "train/loss", "val/loss")
_ACCURACIES = {
    "knn/acc_1": "kNN",
    "online/train_acc_1": "linear probe, training",
    "online/val_acc_1": "linear probe, validation",
    "train/acc_1": "training",
    "val/acc_1": "validation",
}
_RESULTS = {
    "test/map": "Test mean average precision",
    "val/map": "Validation mean average precision",
    "test/acc_1": "Test accuracy",
    "val/acc_1": "Validation accuracy",
    "online/val_acc_1": "Linear probe",
}
_MOST_CURVES = 5
_MOST_FAILURES = 50


def write_report(
    run_dir: str | Path,
    *,
    title: str,
    command: str,
    num_classes: int | None = None,
    recipe: str | None = None,
    differences: Sequence[tuple[str, Any, Any]] = (),
    environment: Mapping[str, Any] | None = None,
) -> Path:
    """Write `report.html` into a run directory, from the files that callbacks and tests leave there.

    Args:
        run_dir: The run directory; what is not in it is left out of the report.
        title: Name of the run.
        command: Command line that reproduces the run.
        num_classes: Number of classes, which gives the chance level of accuracies.
        recipe: Name of the recipe that the configuration is compared with.
        differences: (key, value in the recipe, value in the run) of each key that differs.
        environment: Facts about machine and packages, mappings may be nested; those of `environment.json` when it is
            not given.

    Returns:
        The file.
    """
    folder = Path(run_dir)
    metrics = read_metrics(folder / "metrics.csv") if (folder / "metrics.csv").exists() else {}
    if environment is None and (folder / "environment.json").exists():
        environment = json.loads((folder / "environment.json").read_text())
    chance = 1 / num_classes if num_classes else None
    body = [
        tiles(headline(metrics, chance)),
        chart_row(charts(metrics, chance)),
        section("Run it again", f"<pre>{text(command)}</pre>"),
        section("What the model saw", _picture(folder / "views.png")),
        section(f"Differences from {recipe or 'the recipe'}", _differences(differences, recipe)),
        section("Robustness", _rows_of(folder / "robustness.csv")),
        section("Failed samples", _failures(folder / "failed_samples.csv")),
        section("Last values", table(("metric", "value", "step"), _last_values(metrics)), is_open=False),
        section("Environment", table(("", ""), flat_facts(environment or {})), is_open=False),
    ]
    path = folder / "report.html"
    path.write_text(page(title, body), encoding="utf-8")
    return path


def headline(metrics: Mapping[str, Curve], chance: float | None) -> list[tuple[str, str, str]]:
    """Return the key results as (name, value, note), the most important first.

    Args:
        metrics: Steps and values of each metric.
        chance: Accuracy of guessing, where it is known.
    """
    last = {name: values[-1] for name, (_, values) in metrics.items()}
    at_chance = [] if chance is None else [f"chance {chance:.1%}"]
    tiles = []
    if "knn/acc_1_untrained" in last:
        before, after = last["knn/acc_1_untrained"], last["knn/acc_1"]
        notes = [f"untrained to trained, {100 * (after - before):+.1f} points", *at_chance, *_evaluated(last, "knn")]
        tiles.append(("kNN accuracy", f"{before:.1%} \N{RIGHTWARDS ARROW} {after:.1%}", ", ".join(notes)))
    elif "knn/acc_1" in last:
        tiles.append(("kNN accuracy", f"{last['knn/acc_1']:.1%}", ", ".join([*at_chance, *_evaluated(last, "knn")])))
    for name, label in _RESULTS.items():
        if name in last:
            notes = [*(at_chance if name.endswith("acc_1") else []), *_evaluated(last, name.split("/")[0])]
            tiles.append((label, f"{last[name]:.1%}", ", ".join(notes)))
    loss = next((name for name in _LOSSES if name in metrics), None)
    if loss is not None:
        steps, values = metrics[loss]
        tiles.append(("Loss", f"{values[0]:.3g} \N{RIGHTWARDS ARROW} {values[-1]:.3g}", f"{steps[-1] + 1:.0f} steps"))
    if "time/samples_per_s" in metrics:
        wait = statistics.median(metrics["time/data_wait"][1])
        speed = statistics.median(metrics["time/samples_per_s"][1])
        tiles.append(("Speed", f"{speed:.3g} samples/s", f"{wait:.0%} of the time waiting for data"))
    return tiles


def charts(metrics: Mapping[str, Curve], chance: float | None) -> list[Chart]:
    """Return the charts that there are curves for.

    Args:
        metrics: Steps and values of each metric.
        chance: Accuracy of guessing, where it is known.
    """
    rates = {name.removeprefix("lr-"): curve for name, curve in metrics.items() if name.startswith("lr-")}
    if len(rates) > _MOST_CURVES:  # layer-wise decay: the slowest and the fastest group tell the rest
        ordered = sorted(rates, key=lambda name: max(rates[name][1]))
        rates = {name: rates[name] for name in (ordered[0], ordered[-1])}
    health = {"effective rank of z": "health/effective_rank", "effective rank of h": "health/effective_rank_h"}
    found = [
        Chart("Loss", _pick(metrics, {name: name for name in _LOSSES}), is_noisy=True),
        Chart("Learning rate", rates),
        Chart(
            "Accuracy",
            _pick(metrics, {label: name for name, label in _ACCURACIES.items()}),
            levels={} if chance is None else {"chance": chance},
            is_share=True,
        ),
        Chart("Standard deviation of z (evenly spread: 1/sqrt(D))", _pick(metrics, {"std": "health/std"})),
        Chart("Directions that the features use", _pick(metrics, health)),
        Chart(
            "Loss over its chance level", _pick(metrics, {"loss": "health/loss_over_chance"}), levels={"chance": 1.0}
        ),
        Chart("Samples per second", _pick(metrics, {"samples/s": "time/samples_per_s"}), is_noisy=True),
        Chart("Time spent waiting for data", _pick(metrics, {"share": "time/data_wait"}), is_share=True, is_noisy=True),
    ]
    return [chart for chart in found if chart.curves]


def _pick(metrics: Mapping[str, Curve], names: Mapping[str, str]) -> dict[str, Curve]:
    return {label: metrics[name] for label, name in names.items() if name in metrics}


def _evaluated(last: Mapping[str, float], prefix: str) -> list[str]:
    if f"{prefix}/n_evaluated" not in last:
        return []
    return [f"{last[f'{prefix}/n_evaluated']:.0f} of {last[f'{prefix}/n_expected']:.0f} samples evaluated"]


def _last_values(metrics: Mapping[str, Curve]) -> list[tuple[str, str, str]]:
    return [(name, f"{values[-1]:.6g}", f"{steps[-1]:.0f}") for name, (steps, values) in sorted(metrics.items())]


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    return wide_picture("views of training samples", path.read_bytes())


def _differences(differences: Sequence[tuple[str, Any, Any]], recipe: str | None) -> str:
    if not differences:
        return "<p>None.</p>" if recipe else ""
    return table(("key", "recipe", "this run"), differences)


def _failures(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        header, *rows = csv.reader(lines)
    more = len(rows) - _MOST_FAILURES
    note = f"<p>{len(rows)} in all" + (f", the first {_MOST_FAILURES} of them here" if more > 0 else "") + ".</p>"
    return note + table(header, rows[:_MOST_FAILURES])


def _rows_of(path: Path) -> str:
    """Return the table of a csv file; nothing where there is none."""
    if not path.exists():
        return ""
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    return table(header, rows)
