"""The callbacks and loggers of a job: those of the configuration and those that every job has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eztorch.engine.evaluation.section import writer_spec
from eztorch.utils.config import build, is_spec, locate
from eztorch.utils.errors import ConfigError

# They run networks without an epoch of training or of evaluation: callbacks that wait for one have nothing to do.
FEATURE_TASKS = ("extract_features", "knn", "retrieval_from_bank")
# They take the configuration of a training, whose callbacks are of the training.
_WITHOUT_CALLBACKS = ("linear_probe", "scorecard")
WITHOUT_CURVES = (*FEATURE_TASKS, *_WITHOUT_CALLBACKS)  # tasks that give numbers, nothing for loggers and the report
_TRAINING: dict[str, dict[str, Any]] = {
    "batch_statistics": {"_target_": "eztorch.callbacks.BatchStatistics"},
    "summary": {"_target_": "eztorch.callbacks.NetworkSummary"},
    "progress_bar": {"_target_": "eztorch.callbacks.ProgressBar"},
    "scalars": {"_target_": "eztorch.callbacks.ScalarLogger"},
    "throughput": {"_target_": "eztorch.callbacks.ThroughputMonitor"},
    "failures": {"_target_": "eztorch.callbacks.FailureMonitor"},
    "views": {"_target_": "eztorch.callbacks.ViewRecorder"},
    "requeue": {"_target_": "eztorch.callbacks.Requeue"},
    # Whatever a recipe keeps for good, a run that is stopped goes on from its last epoch.
    "last_checkpoint": {"_target_": "eztorch.callbacks.LastCheckpoint", "dirpath": "checkpoints"},
}
_EVALUATION = {name: _TRAINING[name] for name in ("progress_bar", "failures")}
DEFAULT_CALLBACKS: dict[str, dict[str, dict[str, Any]]] = {
    "pretrain": {**_TRAINING, "collapse": {"_target_": "eztorch.callbacks.CollapseMonitor"}},
    "supervised": _TRAINING,
    "linear_classifier_evaluation": _TRAINING,
    "linear_probe": _EVALUATION,
    "test": _EVALUATION,
    "scorecard": _EVALUATION,
    **{task: {"progress_bar": _TRAINING["progress_bar"]} for task in FEATURE_TASKS},
}
# Keys of the trainer that leave out what Lightning would do, and so what does it here.
_SWITCHES = {
    "enable_model_summary": ("summary",),
    "enable_checkpointing": ("last_checkpoint", "requeue"),
    "enable_progress_bar": ("progress_bar",),
}
# Where a callback or a logger writes, unless the configuration says so: a path within the run directory.
_FILES = {
    "eztorch.callbacks.FailureMonitor": ("path", "failed_samples.csv"),
    "eztorch.callbacks.PredictionWriter": ("path", "predictions"),
    "eztorch.callbacks.Requeue": ("path", "checkpoints/last.ckpt"),
    "eztorch.callbacks.ViewRecorder": ("path", "views.png"),
}


def build_callbacks(config: Mapping[str, Any], task: str, run_dir: Path, *, command: str = "") -> list[Any]:
    """Build the callbacks of the configuration and the default ones of the task.

    A callback of the configuration takes the place of the default of the same name, keys without a `_target_`
    change arguments of that default, and `null` leaves it out. Paths that are not absolute are taken within the run
    directory. A task that takes features leaves out the callbacks that do nothing then, such as the probes and the
    checkpoints of a recipe for training; a linear probe and a scorecard have none of them.

    Args:
        config: Resolved configuration.
        task: Name of the task.
        run_dir: The run directory.
        command: Command line that repeats the run.

    Raises:
        ConfigError: An entry of `callbacks` is no spec of a callback, or a checkpoint could not tell two callbacks
            apart.
    """
    asked = config.get("callbacks") or {}
    if task in _WITHOUT_CALLBACKS:
        asked = {}
    if not isinstance(asked, Mapping):
        raise ConfigError(f"callbacks: expected a mapping from names to specs, got {asked!r}.")
    specs = _over_defaults(asked, {**DEFAULT_CALLBACKS[task], **writer_spec(config, task, command)})
    for name, spec in specs.items():
        if spec is not None and not is_spec(spec):
            raise ConfigError(f"callbacks.{name}: expected a mapping with a _target_ or null, got {spec!r}.")
    trainer = config.get("trainer") or {}
    off = [name for switch, names in _SWITCHES.items() if not trainer.get(switch, True) for name in names]
    specs = {name: spec for name, spec in specs.items() if name not in off or name in asked}
    chosen = {name: spec for name, spec in specs.items() if spec is not None}
    if task in FEATURE_TASKS:
        chosen = {name: spec for name, spec in chosen.items() if _acts_in_prediction(locate(str(spec["_target_"])))}
    built = {name: _callback(_within(spec, run_dir)) for name, spec in chosen.items()}
    _check_states(built)
    return list(built.values())


def _callback(spec: Mapping[str, Any]) -> Any:
    from lightning.pytorch import Callback

    built = build(spec)
    if not isinstance(built, Callback):
        raise ConfigError(
            f"callbacks: {spec['_target_']} gives a {type(built).__name__}; expected a callback of Lightning."
        )
    return built


def _check_states(callbacks: Mapping[str, Any]) -> None:
    """Refuse two callbacks that keep a state under the same key."""
    from lightning.pytorch import Callback

    names: dict[str, str] = {}
    for name, callback in callbacks.items():
        if type(callback).state_dict is Callback.state_dict:
            continue
        other = names.setdefault(callback.state_key, name)
        if other != name:
            raise ConfigError(
                f"callbacks.{other} and callbacks.{name} cannot be told apart in a checkpoint, which keeps the "
                f"state of both as {callback.state_key}. Let an argument in that differ, or leave one of them out."
            )


def _over_defaults(asked: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the callbacks of a configuration over the default ones; keys alone concern a task that has that default."""
    known = {name for specs in DEFAULT_CALLBACKS.values() for name in specs}
    specs = dict(defaults)
    for name, spec in asked.items():
        if not isinstance(spec, Mapping) or is_spec(spec) or name not in known:
            specs[name] = spec
        elif name in defaults:
            specs[name] = {**defaults[name], **spec}
    return specs


def _acts_in_prediction(kind: Any) -> bool:
    """Say whether a kind of callback does something while a network runs outside of training and evaluation."""
    from lightning.pytorch import Callback

    hooks = [name for name in dir(Callback) if name.startswith("on_predict_")]
    return any(getattr(kind, name, None) is not getattr(Callback, name) for name in hooks)


def _within(spec: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    placed = dict(spec)
    if spec["_target_"] in _FILES:
        key, name = _FILES[spec["_target_"]]
        placed.setdefault(key, name)
    for key in ("dirpath", "path"):
        if isinstance(placed.get(key), str):
            placed[key] = str(run_dir / placed[key])
    return placed


def build_loggers(config: Mapping[str, Any], run_dir: Path) -> list[Any]:
    """Build the loggers: `metrics.csv` always, and those of `logger` (TensorBoard when there is no such section).

    Raises:
        ConfigError: An entry of `logger` is not a spec, or its package is not installed.
    """
    csv = locate("eztorch.callbacks.MetricsCSV")(run_dir / "metrics.csv")
    asked = config.get("logger", {"tensorboard": {"_target_": "lightning.pytorch.loggers.TensorBoardLogger"}}) or {}
    if is_spec(asked):
        asked = {"logger": asked}
    loggers = [csv]
    for name, spec in asked.items():
        if not is_spec(spec):
            raise ConfigError(f"logger.{name}: expected a mapping with a _target_, got {spec!r}.")
        placed = dict(spec)
        if str(spec["_target_"]).endswith("TensorBoardLogger"):
            placed = {"save_dir": str(run_dir), "name": "tensorboard", "version": "", **placed}
        try:
            loggers.append(build(placed))
        except ImportError as error:
            raise ConfigError(f"logger.{name}: {error}") from error
    return loggers
