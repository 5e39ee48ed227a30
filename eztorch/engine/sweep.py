"""A multirun: the grid of the overrides, one job after another, each a process of its own."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig

from eztorch.engine.arguments import Arguments
from eztorch.engine.compose import (
    HYDRA_SWEEP_DIR,
    HYDRA_SWEEP_SUBDIR,
    Composer,
    absolute,
    hydra_settings,
    quote,
    refuse_unused,
    require_values,
)
from eztorch.engine.explain import explained
from eztorch.engine.job import JobSpec, Program, job_file
from eztorch.engine.launch import make_job
from eztorch.engine.tables import print_table
from eztorch.utils.errors import ConfigError

# What the table shows when the configuration names no `objective`: those of them that the jobs have.
MAIN_METRICS = ("linear/acc_1", "knn/acc_1", "val/acc_1", "test/acc_1", "pretrain/loss")
_DONE, _NOT_RUN = "done", "not run"
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Combination:
    """One cell of the grid: all overrides of the job, and those among them that vary."""

    overrides: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True)
class PlannedJob:
    """A job of the grid.

    Attributes:
        number: Its number, from 0.
        choices: The overrides in which it differs from the others.
        argv: Its command line behind the task.
        spec: The composed job.
    """

    number: int
    choices: tuple[str, ...]
    argv: tuple[str, ...]
    spec: JobSpec


@dataclass
class Outcome:
    """What became of a job; the metrics are those that it left, empty unless it is done."""

    job: PlannedJob
    status: str = _NOT_RUN
    metrics: dict[str, float] = field(default_factory=dict)


def expand(overrides: Sequence[str], options: Callable[[str], list[str]]) -> list[Combination]:
    """Return the cartesian product of the choices, the last override varying fastest.

    Args:
        overrides: Overrides; `key=a,b`, `key=choice(a,b)`, `key=range(1,4)` and `group=glob(*)` are choices.
        options: From the name of a configuration group to the names of its files.

    Raises:
        ConfigError: Choices that cannot be enumerated or are none, or two for one key.

    >>> [" ".join(one.choices) for one in expand(["a=1,2", "b=x", "c=range(2)"], lambda group: [])]
    ['a=1 c=0', 'a=1 c=1', 'a=2 c=0', 'a=2 c=1']
    """
    with explained():
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        columns = [_choices(override, options) for override in parsed]
    swept = [override.get_key_element() for override in parsed if override.is_sweep_override()]
    for key in swept:
        if swept.count(key) > 1:
            raise ConfigError(f"{key} has choices twice; write them in one override.")
    return [
        Combination(
            cell, tuple(line for line, override in zip(cell, parsed, strict=True) if override.is_sweep_override())
        )
        for cell in itertools.product(*columns)
    ]


def _choices(override: Override, options: Callable[[str], list[str]]) -> list[str]:
    line, key = str(override.input_line), override.get_key_element()
    if not override.is_sweep_override():
        return [line]
    if override.is_hydra_override():
        raise ConfigError(f"{line}: settings of Hydra cannot vary between the jobs of a multirun.")
    if override.value_type == ValueType.INTERVAL_SWEEP:
        raise ConfigError(f"{line}: an interval has no end of values; write range(start, stop, step) or choice(a, b).")
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        pattern: Any = override.value()
        values = pattern.filter(options(override.key_or_group))
    else:
        values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{line}: there is nothing to choose from.")
    return [f"{key}={value}" for value in values]


def run_sweep(composer: Composer, overrides: Sequence[str], arguments: Arguments, program: Program) -> int:
    """Run the grid of the overrides.

    All jobs are composed before the first one starts, so that a mistake in the last is known at once. A job that fails
    does not stop the others.

    Returns:
        Exit status: 0, or 1 when a job failed, or 130 when the sweep was interrupted from the keyboard.
    """
    if composer.launcher is not None:
        raise ConfigError(
            f"--multirun runs its jobs one after another from one process, but {composer.launcher} started several. "
            "Start one command for each job instead, in a loop or a job array of the batch script."
        )
    jobs = plan(composer, overrides, arguments, program)
    folder = _common_folder([job.spec.run_dir for job in jobs])
    outcomes = [Outcome(job) for job in jobs]
    interrupted = False
    for outcome in outcomes:
        job = outcome.job
        print(f"[{job.number + 1}/{len(jobs)}] {' '.join(job.choices)} -> {job.spec.run_dir}", flush=True)
        try:
            outcome.status = _run_process(job, program)
        except KeyboardInterrupt:
            outcome.status, interrupted = "interrupted", True
        if outcome.status == _DONE:
            outcome.metrics = _read_metrics(job.spec.run_dir)
        _write_csv(folder / "multirun.csv", outcomes)
        if interrupted:
            break
    _print_table(folder, outcomes)
    if interrupted:
        return 130
    return int(any(outcome.status != _DONE for outcome in outcomes))


def plan(composer: Composer, overrides: Sequence[str], arguments: Arguments, program: Program) -> list[PlannedJob]:
    """Compose all jobs of a grid.

    Raises:
        ConfigError: A job does not compose, or two of them have the same run directory.
    """
    jobs = []
    for number, one in enumerate(_grid(composer, overrides)):
        lines = (*one.overrides, f"hydra.job.num={number}")
        config = composer.compose(lines)
        config.hydra.run.dir = str(_job_folder(composer, config, number, one.choices))
        lines = (*lines, f"hydra.run.dir={quote(config.hydra.run.dir)}")
        argv = (*arguments.source(), *lines)
        spec = make_job(composer, config, lines, (*program.words, *argv), program)
        jobs.append(PlannedJob(number, one.choices, argv, spec))
    folders = [job.spec.run_dir for job in jobs]
    for path in folders:
        if folders.count(path) > 1:
            raise ConfigError(f"Several jobs have the run directory {path}; let hydra.sweep.subdir tell them apart.")
    return jobs


def _grid(composer: Composer, overrides: Sequence[str]) -> list[Combination]:
    """Return the combinations of the command line and of `hydra.sweeper.params`; a key of the line stands alone."""

    def options(group: str) -> list[str]:
        return composer.options(group, [line for line in overrides if line.startswith("hydra.searchpath=")])

    grid = expand(overrides, options)
    probe = composer.compose(grid[0].overrides)
    refuse_unused(probe, multirun=True)
    params: Mapping[str, Any] = hydra_settings(probe)["sweeper"].get("params") or {}
    given = {line.partition("=")[0] for line in overrides}
    added = [f"{key}={value}" for key, value in params.items() if key not in given]
    return expand([*added, *overrides], options) if added else grid


def _job_folder(composer: Composer, config: DictConfig, number: int, choices: Sequence[str]) -> Path:
    """Return the run directory of a job: that of the configuration, or `hydra.sweep.dir`, and a folder in it."""
    require_values(config)
    sweep = hydra_settings(config)["sweep"]
    if sweep["dir"] == HYDRA_SWEEP_DIR:
        folder = composer.run_dir(config)
    else:
        folder = absolute(composer.value(config, "hydra.sweep.dir"))
    if sweep["subdir"] == HYDRA_SWEEP_SUBDIR:
        return folder / folder_name(number, choices)
    return folder / str(composer.value(config, "hydra.sweep.subdir"))


def folder_name(number: int, choices: Sequence[str]) -> str:
    """Return the name of the folder of a job, of characters that need no quotes in the shell or in an override.

    >>> folder_name(3, ["model.temp=0.1", "model/trunk=resnet3d"])
    '3_model.temp-0.1_model-trunk-resnet3d'
    """
    names = [re.sub(r"[^\w.-]+", "-", choice.lstrip("+"), flags=re.ASCII).strip("-") for choice in choices]
    return "_".join([str(number), *names])[:_LONGEST_NAME]


def _common_folder(folders: Sequence[Path]) -> Path:
    common = Path(os.path.commonpath([path.parent for path in folders]))
    if common == Path(common.anchor):
        raise ConfigError("The run directories of the jobs have no folder in common; set hydra.sweep.dir.")
    return common


def _run_process(job: PlannedJob, program: Program) -> str:
    """Run a job in a process of its own and return its status."""
    with job_file(job.spec, job.argv) as variables, _stop_by_exit():
        process = subprocess.Popen([*program.start, *job.argv], env={**os.environ, **variables})
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()  # the terminal has interrupted it too: let it close its run
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if code == 130:
        raise KeyboardInterrupt
    return _DONE if code == 0 else f"failed (exit status {code})"


@contextmanager
def _stop_by_exit() -> Iterator[None]:
    """Let a request to terminate this process unwind it, so that no job is left behind."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _read_metrics(run_dir: Path) -> dict[str, float]:
    path = run_dir / "metrics.json"
    metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return metrics


def _metric_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the metrics to compare: the objectives of the configurations, else the main metrics that there are."""
    objectives = dict.fromkeys(outcome.job.spec.config.get("objective") for outcome in outcomes)
    asked = [name for name in objectives if name is not None]
    return asked or [name for name in MAIN_METRICS if any(name in outcome.metrics for outcome in outcomes)]


def _write_csv(path: Path, outcomes: Sequence[Outcome]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = _metric_names(outcomes)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["job", "overrides", "status", *names, "run_dir"])
        for outcome in outcomes:
            job = outcome.job
            values = [outcome.metrics.get(name, "") for name in names]
            writer.writerow([job.number, " ".join(job.choices), outcome.status, *values, job.spec.run_dir])


def _print_table(folder: Path, outcomes: Sequence[Outcome]) -> None:
    names = _metric_names(outcomes)
    rows = []
    for outcome in outcomes:
        job = outcome.job
        values = [f"{outcome.metrics[name]:.4g}" if name in outcome.metrics else "" for name in names]
        place = os.path.relpath(job.spec.run_dir, folder)
        rows.append([str(job.number), "\n".join(job.choices), outcome.status, *values, place])
    print_table(f"Jobs in {folder}", ("job", "overrides", "status", *names, "run directory"), rows)
