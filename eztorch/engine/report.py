"""The report of a job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.visualization import write_report

if TYPE_CHECKING:
    from eztorch.engine.job import JobInfo


def write_job_report(run_dir: Path, job: JobInfo, num_classes: int | None) -> Path:
    """Write `report.html` into the run directory.

    Args:
        run_dir: Run directory of a job that has ended.
        job: What was asked on the command line.
        num_classes: Number of classes of the data, for the chance level of accuracies.
    """
    return write_report(
        run_dir,
        title=f"{job.task}: {job.recipe}",
        command=shlex.join(job.command),
        num_classes=num_classes,
        recipe=job.recipe,
        differences=job.differences,
    )
