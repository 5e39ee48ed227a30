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
        evaluates: Whether it evaluates weights, so that `checkpoint=FILE` may stand for the run that wrote them.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    runner: str = "eztorch.engine.run.run_job"
    evaluates: bool = False

    def load(self) -> Callable[..., dict[str, float]]:
        """Import the function that runs a job. This imports torch."""
        runner: Callable[..., dict[str, float]] = locate(self.runner)
        return runner


_FEATURES = "eztorch.engine.evaluation.feature_runs.run_features"
_K200 = "dir.data=/data/kinetics200"
_TRUNK = "pretrained.path=/output/pretrain/checkpoints/last.ckpt"
_CHECKPOINT = "checkpoint=/output/pretrain/checkpoints/last.ckpt"
_SCE_K200 = f"-cn pretrain_r3d18_SCE_kinetics200 {_K200}"
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
            f"eztorch linear_probe {_CHECKPOINT}",
        ),
        _FEATURES,
        evaluates=True,
    ),
    Task(
        "test",
        "Test the weights of a checkpoint.",
        (
            f"eztorch test -cn supervised_r3d18_kinetics200 {_K200} dir.root=/output",
            f"eztorch test -cn supervised_r3d18_kinetics200 {_K200} ckpt_path=/path/to/file.ckpt",
            f"eztorch test {_CHECKPOINT}",
        ),
        evaluates=True,
    ),
    Task(
        "extract_features",
        "Write the features of a network to disk, for every sample of the data.",
        (
            f"eztorch extract_features {_SCE_K200} ckpt_path=/path/to/file.ckpt",
            f"eztorch extract_features {_SCE_K200} ckpt_path=/path/to/file.ckpt extract.clips=keep",
            "eztorch extract_features -cn evaluate_resnet50_imagenet dir.data=/data/imagenet pretrained.path=/w.pth",
        ),
        _FEATURES,
        evaluates=True,
    ),
    Task(
        "knn",
        "Classify by the nearest neighbours of features, for several k and temperatures.",
        (
            f"eztorch knn {_SCE_K200} ckpt_path=/path/to/file.ckpt",
            f"eztorch knn {_SCE_K200} ckpt_path=/path/to/file.ckpt knn.k=[1,20] knn.temperature=[0.07,0.1]",
            f"eztorch knn {_SCE_K200} ckpt_path=untrained",
            f"eztorch knn {_CHECKPOINT}",
        ),
        _FEATURES,
        evaluates=True,
    ),
    Task(
        "retrieval_from_bank",
        "Look for samples of the same class among the nearest neighbours of features.",
        (
            "eztorch retrieval_from_bank -cn evaluate_r3d18_ucf101 dir.data=/data/ucf101 pretrained.path=/w.ckpt",
            f"eztorch retrieval_from_bank {_SCE_K200} ckpt_path=/path/to/file.ckpt retrieval.ranks=[1,5,10]",
            "eztorch retrieval_from_bank -cn retrieval_from_bank query.features_path=/q bank.features_path=/b",
        ),
        _FEATURES,
        evaluates=True,
    ),
    Task(
        "scorecard",
        "Measure a checkpoint by every protocol that fits it: one table, one page, each number with how it came about.",
        (
            f"eztorch scorecard {_CHECKPOINT}",
            f"eztorch scorecard {_CHECKPOINT} '+scorecard.protocols=[knn,linear_probe]' +scorecard.pictures=false",
            f"eztorch scorecard {_SCE_K200} checkpoint=/path/to/file.ckpt",
        ),
        _FEATURES,
        evaluates=True,
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}
