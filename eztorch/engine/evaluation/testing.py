"""A test: once as it is, once more for every corruption that is asked for, and what is told of it."""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from eztorch.engine.evaluation.section import CorruptionPlan, corruption_plans
from eztorch.engine.resume import check_checkpoint
from eztorch.engine.tables import columns
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer

    from eztorch.callbacks import PredictionWriter
    from eztorch.engine.run import Job

Metrics = dict[str, float]


# What robustness is about: the first of these that a model has.
_MAIN = ("test/map", "test/acc_1")
ROBUSTNESS_FILE = "robustness.csv"
# `n_clips`, and `verb_n_scored` of one of several targets.
COUNT = re.compile(r"(^|_)n_[a-z]+$")
_COLUMNS = ("corruption", "severity", "metric", "value", "drop", "n_evaluated", "n_expected")


def last_metrics(trainer: Trainer) -> Metrics:
    """Return the last value of every metric that modules and callbacks gave."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def run_test(job: Job, checkpoint: Path | None) -> Metrics:
    """Test, and test again under the corruptions of `evaluation.corruptions`; print the results.

    Args:
        job: The job.
        checkpoint: Whose weights are tested; None for those that the model has.

    Returns:
        The last value of every metric; `robustness/...` beside them.
    """
    trainer, writer = job.trainer, _writer(job.trainer)
    if writer is not None:
        writer.checkpoint = checkpoint
    path = None if checkpoint is None else str(checkpoint)
    if checkpoint is not None:
        check_checkpoint(checkpoint, to_train=False)
    with warnings.catch_warnings():
        # The callbacks of the training have a state in the checkpoint, which testing has no use for.
        for text in ("Be aware that when using `ckpt_path`, callbacks", "The dirpath has changed from"):
            warnings.filterwarnings("ignore", message=text)
        trainer.test(job.model, datamodule=job.datamodule, ckpt_path=path, verbose=False)
    metrics = last_metrics(trainer)
    written = [] if writer is None else writer.written
    rows: list[dict[str, Any]] = []
    plans = corruption_plans(job.config)
    if plans:
        robustness, rows = measure_robustness(trainer, job.model, job.datamodule, plans, metrics)
        metrics |= robustness
    if trainer.is_global_zero:
        if rows:
            _write_rows(job.run_dir / ROBUSTNESS_FILE, rows)
        print(results(metrics, rows, written))
    return metrics


def _writer(trainer: Trainer) -> PredictionWriter | None:
    from eztorch.callbacks import PredictionWriter

    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # a connector sets it
    return next((one for one in callbacks if isinstance(one, PredictionWriter)), None)


def measure_robustness(
    trainer: Trainer,
    model: LightningModule,
    datamodule: LightningDataModule,
    plans: Sequence[CorruptionPlan],
    clean: Mapping[str, float],
) -> tuple[Metrics, list[dict[str, Any]]]:
    """Repeat a test under corruptions.

    With C corruptions, of which corruption c has S_c severities: `robustness/<name>_<severity>/<metric>` is a test,
    `robustness/<name>/<metric>` the mean over the severities, `robustness/mean_<metric>` the mean of these over the
    corruptions, and `robustness/mean_drop` what that is below the clean value.

    Args:
        trainer: It tests; its loggers and other callbacks hear nothing of these tests.
        model: With the weights to test.
        datamodule: With the test split.
        plans: The corruptions.
        clean: The metrics without any.

    Returns:
        The metrics, and a row a test for a table, the clean one first.

    Raises:
        ConfigError: The model has no metric to compare.
    """
    from eztorch.callbacks.corruption import CorruptInput

    main = next((name for name in _MAIN if name in clean), None)
    if main is None:
        raise ConfigError(
            f"evaluation.corruptions compares {' or '.join(_MAIN)}, and a test of {type(model).__name__} gives neither."
        )
    metric = main.removeprefix("test/")
    rows = [_row("clean", 0, metric, clean, clean[main])]
    found: Metrics = {}
    means = []
    for plan in plans:
        values = []
        for severity in plan.severities:
            with _only(trainer, CorruptInput(plan.name, severity)):
                (result,) = trainer.test(model, datamodule=datamodule, verbose=False)
            rows.append(_row(plan.name, severity, metric, result, clean[main]))
            values.append(float(result[main]))
            found[f"robustness/{plan.name}_{severity}/{metric}"] = values[-1]
        means.append(fmean(values))
        found[f"robustness/{plan.name}/{metric}"] = means[-1]
    mean = fmean(means)
    return found | {f"robustness/mean_{metric}": mean, "robustness/mean_drop": clean[main] - mean}, rows


@contextmanager
def _only(trainer: Trainer, callback: Any) -> Iterator[None]:
    """Let a trainer test with a callback and the progress bar alone, and write nothing."""
    callbacks, loggers = trainer.callbacks, trainer.loggers  # type: ignore[attr-defined]  # a connector sets it
    kept = dict(trainer.callback_metrics)
    bar = trainer.progress_bar_callback
    trainer.callbacks = [callback, *([] if bar is None else [bar])]  # type: ignore[attr-defined]
    trainer.loggers = []
    try:
        yield
    finally:
        trainer.callbacks = callbacks  # type: ignore[attr-defined]
        trainer.loggers = loggers
        trainer.callback_metrics.update(kept)


def _row(name: str, severity: int, metric: str, result: Mapping[str, float], clean: float) -> dict[str, Any]:
    value = float(result[f"test/{metric}"])
    counts = [result.get(f"test/{key}") for key in ("n_evaluated", "n_expected")]
    numbers = ["" if count is None else int(count) for count in counts]
    return dict(
        zip(_COLUMNS, (name, severity, metric, round(value, 6), round(clean - value, 6), *numbers), strict=True)
    )


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def results(metrics: Mapping[str, float], rows: Sequence[Mapping[str, Any]], written: Sequence[Path]) -> str:
    """Return what is told at the end of a test.

    Args:
        metrics: The metrics of the run.
        rows: Tests under corruptions, the clean one first; may be empty.
        written: The predictions that were written, of one test.

    >>> print(results({"test/acc_1": 0.5, "test/n_evaluated": 7.0, "test/n_expected": 8.0, "fit": 1.0}, [], []))
    Test of 7 of 8 samples
      acc_1  0.5000
    """
    values = {name.removeprefix("test/"): value for name, value in metrics.items() if name.startswith("test/")}
    evaluated, expected = (values.pop(f"n_{key}", None) for key in ("evaluated", "expected"))
    over = "" if evaluated is None else f" of {evaluated:.0f}" + ("" if expected is None else f" of {expected:.0f}")
    lines = [f"Test{over and over + ' samples'}"]
    if values:
        lines.append(columns((name, _number(name, value)) for name, value in sorted(values.items())))
    if rows:
        lines += ["Robustness", columns(_robustness_cells(rows))]
    if written:
        lines += ["Protocol", columns(_protocol_cells(written[0])), *(f"Predictions: {path}" for path in written)]
    return "\n".join(lines)


def _number(name: str, value: float) -> str:
    return f"{value:.0f}" if COUNT.search(name) else f"{value:.4f}"


def _robustness_cells(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for row in rows:
        name = row["corruption"] if row["corruption"] == "clean" else f"{row['corruption']} {row['severity']}"
        yield name, f"{row['metric']} {row['value']:.4f}  {0.0 - row['drop']:+.4f}"


def read_protocol(written: Path) -> dict[str, Any]:
    """Return how the predictions in a file came to be, of the json file beside it."""
    protocol: dict[str, Any] = json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))["protocol"]
    return protocol


def view_settings(protocol: Mapping[str, Any]) -> dict[str, str]:
    """Return for people how many views a test took of a video, and their sizes.

    >>> view_settings({"views": {"temporal": 2, "spatial": 3}, "input": [[3, 8, 64, 64]]})
    {'views': '2 in time x 3 in space', 'input': '3 x 8 x 64 x 64'}
    """
    views = protocol["views"]
    return {"views": f"{views['temporal']} in time x {views['spatial']} in space", "input": sizes(protocol["input"])}


def sizes(shapes: Iterable[Sequence[int]]) -> str:
    """Return shapes for people."""
    return " and ".join(" x ".join(map(str, shape)) for shape in shapes)


def _protocol_cells(written: Path) -> Iterator[tuple[str, str]]:
    protocol = read_protocol(written)
    settings = view_settings(protocol)
    yield "views", f"{settings['views']}, {protocol['aggregation']}"
    yield "input", settings["input"]
    yield "checkpoint", str(protocol["checkpoint"] or f"weights after step {protocol['global_step']}")
    failures = protocol["failures"]
    if failures:
        yield "not read", f"{len(failures)} ({protocol['on_error']}): {', '.join(failures[:3])}"
