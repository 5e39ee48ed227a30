"""One job from its resolved configuration to its metrics: check, build, run, report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eztorch.engine.callbacks import WITHOUT_CURVES, build_callbacks, build_loggers
from eztorch.engine.check import check_batches, check_config
from eztorch.engine.environment import environment_facts, is_first_process, say
from eztorch.engine.evaluation.feature_measures import evaluate_knn, evaluate_retrieval
from eztorch.engine.evaluation.features import extract_features
from eztorch.engine.evaluation.probing import linear_probe
from eztorch.engine.evaluation.scorecard import scorecard
from eztorch.engine.evaluation.section import check_evaluation
from eztorch.engine.evaluation.testing import Metrics, last_metrics, run_test
from eztorch.engine.foreign_errors import foreign_errors_told
from eztorch.engine.noise import quieten
from eztorch.engine.pretrained import with_pretrained, without_pretrained
from eztorch.engine.resume import check_checkpoint, explained_misfit, find_checkpoint
from eztorch.engine.signals import ended_from_outside
from eztorch.engine.trainer import build_trainer, find_placement
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError
from eztorch.utils.files import atomic_file
from eztorch.utils.names import choose

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer

    from eztorch.engine.job import JobInfo

# The parts of a module that `compile` compiles, where they exist.
_NETWORKS = ("trunk", "projector", "predictor", "target.trunk", "target.projector", "model", "classifier", "decoder")


@dataclass(frozen=True)
class Job:
    """Everything that a task works with."""

    config: Mapping[str, Any]
    run_dir: Path
    trainer: Trainer
    model: LightningModule
    datamodule: LightningDataModule
    info: JobInfo


def fit(job: Job) -> Metrics:
    """Train, from a checkpoint when one is asked for or the run directory has one."""
    checkpoint = find_checkpoint(job.config.get("ckpt_path"), job.run_dir)
    if checkpoint is not None:
        check_checkpoint(checkpoint, max_epochs=job.trainer.max_epochs)
        say(f"Continuing from {checkpoint}.")
    with explained_misfit(checkpoint):
        job.trainer.fit(job.model, datamodule=job.datamodule, ckpt_path=None if checkpoint is None else str(checkpoint))
    return last_metrics(job.trainer)


def fit_and_test(job: Job) -> Metrics:
    """Train, then test the final weights, or those of `test.ckpt_path`, when there is a test split."""
    from eztorch.datamodules import BaseDataModule

    has_test = bool(job.config["datamodule"].get("test"))
    if isinstance(job.datamodule, BaseDataModule):
        job.datamodule.test_follows = has_test
    metrics = fit(job)
    if has_test or _tests_by_itself(job):
        asked = (job.config.get("test") or {}).get("ckpt_path")
        metrics |= run_test(job, None if asked is None else find_checkpoint(asked, job.run_dir, key="test.ckpt_path"))
    return metrics


def _tests_by_itself(job: Job) -> bool:
    """Say whether a datamodule that is not described by sections gives a loader for a test, and the model takes it."""
    from lightning.pytorch.utilities.model_helpers import is_overridden

    own = "train" not in job.config["datamodule"]
    return own and is_overridden("test_dataloader", job.datamodule) and is_overridden("test_step", job.model)


def test(job: Job) -> Metrics:
    """Test the weights of a checkpoint.

    Raises:
        ConfigError: None is asked for and the run directory has none, or the model gives no answers to test.
    """
    _refuse_features_alone(job.model)
    asked = (job.config.get("test") or {}).get("ckpt_path") or job.config.get("ckpt_path")
    checkpoint = find_checkpoint(asked, job.run_dir)
    if checkpoint is None:
        raise ConfigError(
            f"There is nothing to test: ckpt_path is not given and {job.run_dir} has no checkpoint. "
            "Write ckpt_path=/path/to/file.ckpt."
        )
    say(f"Testing {checkpoint}.")
    with explained_misfit(checkpoint):
        return run_test(job, checkpoint)


def _refuse_features_alone(model: LightningModule) -> None:
    from eztorch.models.pretext import PretextModel
    from eztorch.models.siamese import SiameseModel
    from eztorch.models.trunk_model import TrunkModel

    if isinstance(model, PretextModel | SiameseModel | TrunkModel):
        raise ConfigError(
            f"There is nothing to test: {type(model).__name__} is no classifier. What its features are worth is "
            "measured by eztorch scorecard, or by one of linear_probe, knn and retrieval_from_bank."
        )


_RUNS: dict[str, tuple[Callable[[Job], Metrics], tuple[str, ...]]] = {
    "pretrain": (fit, ("train",)),
    "supervised": (fit_and_test, ("train",)),
    "linear_classifier_evaluation": (fit_and_test, ("train",)),
    "linear_probe": (linear_probe, ("train", "val")),
    "test": (test, ("test",)),
    "extract_features": (extract_features, ()),
    "knn": (evaluate_knn, ()),
    "retrieval_from_bank": (evaluate_retrieval, ()),
    "scorecard": (scorecard, ()),
}


def run_job(config: Mapping[str, Any], task: str, run_dir: Path, *, job: JobInfo) -> Metrics:
    """Run a task.

    Args:
        config: Resolved configuration, plain mappings and lists.
        task: Name of the task.
        run_dir: Where everything is written; made when it is not there.
        job: What was asked on the command line, for the report.

    Returns:
        The last value of every metric.

    Raises:
        EztorchError: The configuration, the data or the surroundings cannot be used; always before training starts.
    """
    run, needs = choose(_RUNS, task, "task")
    quieten()
    # A test takes all weights from its checkpoint.
    config = without_pretrained(config) if task == "test" else with_pretrained(config)
    check_config(config, needs)
    check_evaluation(config)
    placement = find_placement(config["trainer"])
    check_batches(config["datamodule"], placement.world_size)
    run_dir = begin_run(config, run_dir)
    datamodule = build(config["datamodule"])
    model = build(config["model"])
    if config.get("compile") is not None:
        compile_networks(model, config["compile"])
    trainer = build_trainer(
        config["trainer"],
        placement,
        callbacks=build_callbacks(config, task, run_dir, command=shlex.join(job.command)),
        # What a task finds in features is no step of a curve.
        logger=False if task in WITHOUT_CURVES else build_loggers(config, run_dir),
        default_root_dir=str(run_dir),
    )
    say(f"{task} on {placement.world_size} process(es) of {placement.accelerator}, run directory {run_dir}")
    with foreign_errors_told(), ended_from_outside(trainer, run_dir):
        metrics = run(Job(config, run_dir, trainer, model, datamodule, job))
    if trainer.is_global_zero:
        metrics = keep_metrics(run_dir / "metrics.json", metrics, tell=task in WITHOUT_CURVES or task == "test")
        if config.get("report", True) and task not in WITHOUT_CURVES:
            from eztorch.engine.report import write_job_report

            say(f"Report: {write_job_report(run_dir, job, getattr(datamodule, 'num_classes', None))}")
    return metrics


def begin_run(config: Mapping[str, Any], run_dir: Path) -> Path:
    """Make the run directory, keep the facts of the environment in it, and set threads and seed.

    Returns:
        The run directory, absolute.
    """
    run_dir = run_dir.absolute()
    if is_first_process():
        run_dir.mkdir(parents=True, exist_ok=True)
        _write_json(run_dir / "environment.json", environment_facts())
    _set_threads(config.get("num_threads"))
    seed_run(config.get("seed"))
    return run_dir


def compile_networks(model: LightningModule, options: Mapping[str, Any] | bool) -> None:
    """Compile the networks of a module in place, so that names in its checkpoints stay as they are.

    Raises:
        ConfigError: `compile` is neither a mapping of options of `torch.compile` nor a boolean.
    """
    if options is False:
        return
    if options is not True and not isinstance(options, Mapping):
        raise ConfigError(
            f"compile={options!r}; expected options of torch.compile, such as {{mode: default}}, or true."
        )
    import torch

    arguments: dict[str, Any] = {} if options is True else dict(options)
    modules: dict[str, Any] = dict(model.named_modules())
    for network in (modules[name] for name in _NETWORKS if name in modules):
        network.compile(**arguments)
        if hasattr(network, "tokens"):  # what masked methods call instead of the network itself
            network.tokens = torch.compile(network.tokens, **arguments)


def _set_threads(number: Any) -> None:
    """Set the threads of torch. On a CPU, threads that share cores with the loader's workers wait for each other."""
    if number is None:
        return
    if not isinstance(number, int) or number < 1:
        raise ConfigError(f"num_threads={number!r}; expected a positive number, or null for torch's own choice.")
    import torch

    torch.set_num_threads(number)


def seed_run(spec: Any) -> None:
    """Seed everything; without a `seed` section the seed is 0, said aloud, since every draw is addressed from it."""
    from lightning.pytorch import seed_everything

    if spec is None:
        say("No seed is given: 0 is used.")
        seed_everything(0, workers=True, verbose=False)
    elif isinstance(spec, int):
        seed_everything(spec, workers=True, verbose=False)
    else:
        build(spec)


def keep_metrics(path: Path, metrics: Metrics, *, tell: bool) -> Metrics:
    """Write the metrics of a job over those that an earlier one left in the run directory; return all of them.

    Args:
        path: The file.
        metrics: Numbers by name.
        tell: Whether to say which earlier numbers are replaced. A training that goes on replaces all of its own.
    """
    if not metrics:
        say("There was nothing left to do. Raise trainer.max_epochs to train on, or start anew with another dir.exp.")
    earlier = _earlier_metrics(path)
    replaced = [
        f"{name} (was {earlier[name]:.4g})"
        for name in metrics
        if name in earlier and str(earlier[name]) != str(metrics[name])  # nan is nan
    ]
    if tell and replaced:
        say(f"Replaced in {path}: {', '.join(replaced)}.")
    merged = dict(sorted({**earlier, **metrics}.items()))
    _write_json(path, merged)
    return merged


def _earlier_metrics(path: Path) -> Metrics:
    try:
        metrics: Metrics = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:  # a run was ended while it wrote
        say(f"{path} cannot be read ({error}); what an earlier run measured is lost.")
        return {}
    return metrics


def _write_json(path: Path, content: Any) -> None:
    """Write a file that is whole at any moment, the old or the new one."""
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2) + "\n")
