"""Running a task that takes features: which weights it has, and whether it needs a model at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.callbacks import build_callbacks
from eztorch.engine.environment import say
from eztorch.engine.evaluation.feature_measures import check_settings, retrieve_sets
from eztorch.engine.evaluation.feature_settings import RetrievalSettings, read_settings
from eztorch.engine.evaluation.features import need_weights
from eztorch.engine.noise import quieten
from eztorch.engine.pretrained import without_pretrained
from eztorch.engine.resume import find_checkpoint
from eztorch.engine.run import begin_run, keep_metrics, run_job
from eztorch.engine.trainer import build_trainer, find_placement
from eztorch.utils.config import is_spec, problems
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.engine.job import JobInfo

UNTRAINED = "untrained"


def run_features(config: Mapping[str, Any], task: str, run_dir: Path, *, job: JobInfo) -> dict[str, float]:
    """Run a task that takes features; see `eztorch.engine.run.run_job`.

    Retrieval from features that are given needs neither data nor a model.
    """
    if task == "retrieval_from_bank":
        settings = read_settings(RetrievalSettings, config.get("retrieval"), "retrieval")
        if settings.sides[0].features_path is not None:
            return _run_on_files(config, task, run_dir, settings)
        if "model" not in config:
            raise ConfigError(
                "This experiment has no model, so the features have to be there: write query.features_path=... and "
                "bank.features_path=..., or take an experiment with a model."
            )
    check_settings(config, task)
    return run_job(with_chosen_weights(config, run_dir), task, run_dir, job=job)


def with_chosen_weights(config: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """Decide which weights are evaluated, and say so.

    They are those of `ckpt_path`; without one of the newest checkpoint of the run directory; without one of
    `pretrained.path`, or of `model.pretrained_trunk_path` where a model has that key. Random weights are evaluated
    where `ckpt_path` says `untrained`, those that a trunk is built with where `pretrained.required` is false, and never
    otherwise.

    Returns:
        The configuration with the file in `ckpt_path`, or None there; `pretrained` is empty where it is not used.

    Raises:
        ConfigError: There are no weights, the file does not exist, or two things are asked for.
    """
    asked, pretrained = config.get("ckpt_path"), config.get("pretrained") or {}
    path = pretrained.get("path") if isinstance(pretrained, Mapping) else None
    if asked == UNTRAINED:
        if path is not None:
            raise ConfigError(f"ckpt_path={UNTRAINED} and pretrained.path={path}: write one of them.")
        say("Evaluating random weights (ckpt_path=untrained).")
        return {**without_pretrained(config), "ckpt_path": None, "pretrained": None}
    checkpoint = find_checkpoint(asked, run_dir)
    if checkpoint is not None:
        say(f"Evaluating {checkpoint}.")
        return {**without_pretrained(config), "ckpt_path": str(checkpoint), "pretrained": None}
    as_built = isinstance(pretrained, Mapping) and pretrained.get("required") is False
    if path is None and as_built:
        say("Evaluating the weights that the trunk is built with (pretrained.required=false).")
    elif path is None and (config.get("model") or {}).get("pretrained_trunk_path") is None:
        raise need_weights(f"ckpt_path is not given and {run_dir} has no checkpoint.")
    return {**config, "ckpt_path": None}


def _run_on_files(config: Mapping[str, Any], task: str, run_dir: Path, settings: RetrievalSettings) -> dict[str, float]:
    """Retrieve from features that are on disk."""
    from eztorch.evaluation.extraction import start_processes
    from eztorch.evaluation.feature_store import open_features

    quieten()
    if not is_spec(config.get("trainer")):
        raise ConfigError(f"trainer: expected a mapping with a _target_, got {config.get('trainer')!r}")
    found = list(problems(config))
    if found:
        raise ConfigError("The configuration cannot be used:\n" + "\n".join(f"  - {line}" for line in found))
    placement = find_placement(config["trainer"])
    query, bank = (
        open_features(str(side.features_path), side.labels_path, key=f"retrieval.{name}")
        for side, name in zip(settings.sides, ("query", "bank"), strict=True)
    )
    run_dir = begin_run(config, run_dir)
    trainer = build_trainer(
        config["trainer"],
        placement,
        callbacks=build_callbacks(config, task, run_dir),
        logger=False,
        default_root_dir=str(run_dir),
    )
    start_processes(trainer)
    metrics = retrieve_sets(trainer, query, bank, settings, run_dir)
    return keep_metrics(run_dir / "metrics.json", metrics, tell=True) if trainer.is_global_zero else metrics
