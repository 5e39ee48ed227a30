"""The task `linear_probe`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.engine.evaluation.features import load_checkpoint
from eztorch.engine.evaluation.testing import Metrics, last_metrics
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.engine.run import Job
    from eztorch.evaluation.probe import LinearProbe

# The configuration of a run that an earlier version wrote may lack the section.
_DEFAULT = {"_target_": "eztorch.evaluation.LinearProbe"}


def linear_probe(job: Job) -> Metrics:
    """Fit the grid of `probe` on the features of the trunk of the model.

    Raises:
        ConfigError: The section cannot be read, or the model has no trunk.
    """
    reason = why_not_probed(job)
    if reason is not None:
        raise ConfigError(f"There is nothing to probe: {reason}.")
    return fit_probe(job)[0]


def why_not_probed(job: Job) -> str | None:
    """Return why the model of a job cannot be probed, None where it can."""
    if not hasattr(job.model, "trunk"):
        return f"{type(job.model).__name__} has no trunk whose features could be probed"
    spec = job.config.get("probe")
    if spec is not None and not is_spec(spec):
        return f"probe={spec!r}; expected a mapping with a _target_, such as +evaluation@probe=linear_probe adds"
    return None


def fit_probe(job: Job) -> tuple[Metrics, LinearProbe]:
    """Fit and measure the probe of a job; return its metrics, and itself."""
    checkpoint = job.config.get("ckpt_path")
    if checkpoint is not None:
        load_checkpoint(job.model, Path(checkpoint))
    probe: LinearProbe = build(
        job.config.get("probe") or _DEFAULT, trunk=job.model.trunk, transform=job.model.val_transform
    )
    job.trainer.validate(probe, datamodule=job.datamodule, verbose=False)
    return {name: value for name, value in last_metrics(job.trainer).items() if name.startswith("linear/")}, probe
