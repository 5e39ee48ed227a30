"""The task `linear_probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.engine.evaluation.features import load_checkpoint
from eztorch.engine.evaluation.testing import Metrics
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.engine.run import Job
    from eztorch.evaluation.probe import LinearProbe


def linear_probe(job: Job) -> Metrics:
    """Fit the grid of `probe` on the features of the trunk of the model.

    Raises:
        ConfigError: There is no such section, or the model has no trunk.
    """
    reason = why_not_probed(job)
    if reason is not None:
        raise ConfigError(f"There is nothing to probe: {reason}.")
    return fit_probe(job)[0]


def why_not_probed(job: Job) -> str | None:
    """Return why the model of a job cannot be probed, None where it can."""
    if not hasattr(job.model, "trunk"):
        return f"{type(job.model).__name__} has no trunk whose features could be probed"
    if not is_spec(job.config.get("probe")):
        return "there is no section probe, which says what to fit: write +evaluation@probe=linear_probe"
    return None


def fit_probe(job: Job) -> tuple[Metrics, LinearProbe]:
    """Fit and measure the probe of a job; return its metrics, and itself."""
    checkpoint = job.config.get("ckpt_path")
    if checkpoint is not None:
        load_checkpoint(job.model, Path(checkpoint))
    probe: LinearProbe = build(job.config["probe"], trunk=job.model.trunk, transform=job.model.val_transform)
    job.trainer.validate(probe, datamodule=job.datamodule, verbose=False)
    metrics = {name: float(value) for name, value in job.trainer.callback_metrics.items()}
    return {name: value for name, value in metrics.items() if name.startswith("linear/")}, probe
