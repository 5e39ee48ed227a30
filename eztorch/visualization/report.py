"""The report of a run: one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
import csv
import html
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eztorch.visualization.curves import Chart, Curve, draw_chart, read_metrics

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
        f"<h1>{_text(title)}</h1>",
        _tiles(headline(metrics, chance)),
        f'<div class="charts">{"".join(map(_chart, charts(metrics, chance)))}</div>',
        _section("Run it again", f"<pre>{_text(command)}</pre>"),
        _section("What the model saw", _picture(folder / "views.png")),
        _section(f"Differences from {recipe or 'the recipe'}", _differences(differences, recipe)),
        _section("Robustness", _rows_of(folder / "robustness.csv")),
        _section("Failed samples", _failures(folder / "failed_samples.csv")),
        _section("Last values", _table(("metric", "value", "step"), _last_values(metrics)), is_open=False),
        _section("Environment", _table(("", ""), _flatten(environment or {})), is_open=False),
    ]
    path = folder / "report.html"
    path.write_text(_PAGE.format(title=_text(title), style=_STYLE, body="\n".join(body)), encoding="utf-8")
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


def _text(value: Any) -> str:
    return html.escape(str(value))


def _tiles(tiles: Iterable[tuple[str, str, str]]) -> str:
    cells = (
        f'<div class="tile"><div class="name">{_text(name)}</div><div class="value">{_text(value)}</div>'
        f'<div class="note">{_text(note)}</div></div>'
        for name, value, note in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _chart(chart: Chart) -> str:
    """Return a chart that follows the page into the dark."""
    light, dark = (_data_url(draw_chart(chart, dark=is_dark)) for is_dark in (False, True))
    return (
        f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
        f'<img src="{light}" alt="{_text(chart.title)}"></picture>'
    )


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _section(title: str, content: str, *, is_open: bool = True) -> str:
    """Return a section; nothing when it has no content."""
    if not content:
        return ""
    return f"<details{' open' if is_open else ''}><summary>{_text(title)}</summary>{content}</details>"


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    return f'<div class="wide"><img src="{_data_url(path.read_bytes())}" alt="views of training samples"></div>'


def _differences(differences: Sequence[tuple[str, Any, Any]], recipe: str | None) -> str:
    if not differences:
        return "<p>None.</p>" if recipe else ""
    return _table(("key", "recipe", "this run"), differences)


def _failures(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    more = len(rows) - _MOST_FAILURES
    note = f"<p>{len(rows)} in all" + (f", the first {_MOST_FAILURES} of them here" if more > 0 else "") + ".</p>"
    return note + _table(header, rows[:_MOST_FAILURES])


def _rows_of(path: Path) -> str:
    """Return the table of a csv file; nothing where there is none."""
    if not path.exists():
        return ""
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    return _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{_text(cell)}</th>" for cell in header) if any(header) else ""
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as (dotted key, value), empty ones left out."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            rows += [(name, ", ".join(map(str, value)))] if value else []
        elif value not in (None, ""):
            rows.append((name, str(value)))
    return rows


_STYLE = """
:root { color-scheme: light dark; --ground: #fafafa; --card: #fff; --ink: #18181b; --soft: #71717a; --line: #e4e4e7;
  --accent: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #18181b; --card: #232327; --ink: #f4f4f5; --soft: #a1a1aa; --line: #3f3f46; --accent: #60a5fa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; }
.tile { flex: 1 1 12rem; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
.tile:first-child { border-color: var(--accent); }
.tile .name, .tile .note { color: var(--soft); font-size: .85rem; }
.tile .value { font-size: 1.5rem; font-weight: 650; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem; margin: 1rem 0; }
.charts picture { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .6rem; }
img { max-width: 100%; display: block; }
.charts img { width: 100%; }
details { margin-top: 1.5rem; }
summary { font-size: 1.1rem; font-weight: 650; cursor: pointer; margin-bottom: .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { text-align: left; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
