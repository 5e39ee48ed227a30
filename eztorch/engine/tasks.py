"""The tasks by name: what the command line offers, and which function runs each. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eztorch.utils.config import locate


@dataclass(frozen=True)
class Task:
    """What `eztorch NAME` and `run/NAME.py` do.

    Attributes:
        name: Name on the command line.
        summary: One line for the help.
        examples: Commands that work as they stand, apart from the folders in them.
        runner: Dotted name of the function that runs a job of this task; see `eztorch.engine.run.run_job`.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    runner: str = "eztorch.engine.run.run_job"

    def load(self) -> Callable[..., dict[str, float]]:
        """Import the function that runs a job. This imports torch."""
        runner: Callable[..., dict[str, float]] = locate(self.runner)
        return runner


_K200 = "dir.data=/data/kinetics200"
_TRUNK = "pretrained.path=/output/pretrain/checkpoints/last.ckpt"
_TASKS = (
    Task(
        "pretrain",
        "Train a network on videos or images without labels.",
        (
            f"eztorch pretrain -cn pretrain_r3d18_SCE_kinetics200 {_K200} dir.root=/output",
            f"eztorch pretrain -cn pretrain_r3d18_SCE_kinetics200 {_K200} -m model.temp=0.05,0.1 model.coeff=0,0.5",
            "eztorch pretrain -cn pretrain_r3d18_SCE_kinetics200 --cfg job -p model.optimizer",
        ),
    ),
    Task(
        "supervised",
        "Train a classifier on labels, then test it.",
        (
            f"eztorch supervised -cn supervised_r3d18_kinetics200 {_K200} dir.root=/output",
            f"eztorch supervised -cn supervised_r3d18_kinetics200 {_K200} -m model.optimizer.initial_lr=0.2,0.4",
            f"eztorch supervised -cn finetune_r3d18_hmdb51 dir.data=/data/hmdb51 {_TRUNK}",
            "eztorch supervised -cn supervised_r3d18_kinetics200 --cfg job -p model.optimizer",
        ),
    ),
    Task(
        "linear_classifier_evaluation",
        "Train a linear classifier on the features of a frozen trunk, then test it.",
        (
            f"eztorch linear_classifier_evaluation -cn linear_r3d18_kinetics200 {_K200} {_TRUNK}",
            f"eztorch linear_classifier_evaluation -cn linear_r3d18_kinetics200 {_K200} {_TRUNK} "
            "-m model.optimizer.initial_lr=1,2,4",
        ),
    ),
    Task(
        "linear_probe",
        "Fit a grid of linear classifiers on features that are extracted once.",
        (
            f"eztorch linear_probe -cn linear_r3d18_kinetics200 {_K200} {_TRUNK}",
            f"eztorch linear_probe -cn linear_r3d18_kinetics200 {_K200} {_TRUNK} "
            "'probe.sources=[output,blocks.3,blocks.4/average_max]'",
        ),
    ),
    Task(
        "test",
        "Test the weights of a checkpoint.",
        (
            f"eztorch test -cn supervised_r3d18_kinetics200 {_K200} dir.root=/output",
            f"eztorch test -cn supervised_r3d18_kinetics200 {_K200} ckpt_path=/path/to/file.ckpt",
        ),
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
