"""Measuring a checkpoint, and writing what was found."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eztorch
from eztorch.engine.environment import say
from eztorch.engine.evaluation.feature_settings import read_settings
from eztorch.engine.evaluation.features import weights_facts
from eztorch.engine.evaluation.scorecard.entries import Entry, in_one_line, shared_settings
from eztorch.engine.evaluation.scorecard.protocols import PROTOCOLS, Measured
from eztorch.engine.evaluation.scorecard.settings import ScorecardSettings
from eztorch.engine.evaluation.testing import Metrics
from eztorch.engine.tables import print_table
from eztorch.utils.errors import ConfigError
from eztorch.utils.files import atomic_file
from eztorch.utils.names import choose

if TYPE_CHECKING:
    from eztorch.engine.run import Job

_COLUMNS = ("protocol", "metric", "value", "evaluated", "how")
JSON_FILE, PAGE_FILE = "scorecard.json", "scorecard.html"


def scorecard(job: Job) -> Metrics:
    """Measure the weights of a job by the protocols that fit; write `scorecard.json` and `scorecard.html`.

    Raises:
        ConfigError: A protocol that is asked for does not fit, or none does.
    """
    settings = read_settings(ScorecardSettings, job.config.get("scorecard"), "scorecard")
    reasons = {name: protocol.why_not(job) for name, protocol in PROTOCOLS.items()}
    names = _chosen(settings.protocols, reasons)
    begin, measured = time.perf_counter(), Measured(job)
    for number, name in enumerate(names, start=1):
        say(f"Protocol {number} of {len(names)}: {name}")
        PROTOCOLS[name].run(measured)
    if job.trainer.is_global_zero:
        seconds = time.perf_counter() - begin
        not_measured = {
            name: reason or "not asked for" for name, reason in reasons.items() if reason or name not in names
        }
        facts = _facts(measured, not_measured, seconds)
        with atomic_file(job.run_dir / JSON_FILE) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        _print(measured.entries, not_measured, facts["checkpoint"])
        page = _write_page(measured, settings, facts)
        say(f"Scorecard: {page} ({time.perf_counter() - begin:.0f} s)")
    return measured.metrics


def _chosen(asked: Sequence[str] | None, reasons: dict[str, str | None]) -> list[str]:
    if asked is None:
        names = [name for name, reason in reasons.items() if reason is None]
        if not names:
            listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            raise ConfigError(f"No protocol fits this model and its data. {listed}.")
        return names
    for name in asked:
        reason = reasons[choose({known: known for known in reasons}, name, "scorecard.protocols")]
        if reason is not None:
            raise ConfigError(f"scorecard.protocols: {name} does not fit: {reason}.")
    return [name for name in reasons if name in asked]


def _facts(measured: Measured, not_measured: dict[str, str], seconds: float) -> dict[str, Any]:
    job = measured.job
    return {
        "format": "eztorch scorecard 1",
        "checkpoint": weights_facts(job.config),
        "model": job.config["model"]["_target_"],
        "datamodule": job.config["datamodule"]["_target_"],
        "command": job.info.command,
        "working_directory": job.info.cwd,
        "eztorch": eztorch.__version__,
        "seconds": round(seconds, 1),
        "entries": [dataclasses.asdict(entry) for entry in measured.entries],
        "not_measured": not_measured,
    }


def _print(entries: Sequence[Entry], not_measured: dict[str, str], checkpoint: dict[str, Any]) -> None:
    name, shared, rows, protocol = checkpoint["path"] or "random weights", shared_settings(entries), [], ""
    for entry in entries:
        # What a line says of a protocol, and the title of all, is not said again.
        own = {key: value for key, value in entry.settings.items() if key not in shared}
        is_new = entry.protocol != protocol
        protocol = entry.protocol
        rows.append((protocol * is_new, entry.metric, entry.shown, entry.over, in_one_line(own) * is_new))
    print_table(f"Scorecard of {name}", _COLUMNS, rows)
    if shared:
        print(f"All of them: {in_one_line(shared)}")
    for reason in dict.fromkeys(not_measured.values()):
        print(f"Not measured: {', '.join(name for name, other in not_measured.items() if other == reason)}: {reason}")


def _write_page(measured: Measured, settings: ScorecardSettings, facts: dict[str, Any]) -> Path:
    from eztorch.engine.evaluation.scorecard.pictures import draw_pictures
    from eztorch.visualization.scorecard import scorecard_page

    pictures = draw_pictures(measured, settings) if settings.pictures else []
    path = measured.job.run_dir / PAGE_FILE
    with atomic_file(path) as temporary:
        temporary.write_text(scorecard_page(facts, measured.entries, pictures), encoding="utf-8")
    return path
