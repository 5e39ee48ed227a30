"""What a test said of every video: written to a file, and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

import eztorch
from eztorch.callbacks.publishing import publish, say
from eztorch.callbacks.seen_views import SeenViews
from eztorch.evaluation.groups import read_groups
from eztorch.evaluation.measure import MeasureOptions, check_names, measure, write_class_table
from eztorch.evaluation.predictions import SUFFIX, Predictions, Unanswered
from eztorch.models.evaluation_metric import EvaluationMetric, failures_that_count
from eztorch.models.views import Aggregation, ViewTotals
from eztorch.utils.distributed import all_gather_list
from eztorch.utils.files import file_digest


class PredictionWriter(Callback):
    """Writes the predictions of the test split, and measures them.

    After a test, `test.safetensors` has a row a video, its views brought together by the model's
    `test_time_augmentation`, or by the mean of their probabilities where it has none; `test.json` beside it says what
    they are and how they came to be, `test_classes.csv` what there is to say of each class. See
    `eztorch.evaluation.predictions.Predictions`. Everything is of all processes, each video once; rank 0 writes it.

    The measures stand as `test/<name>` in the metrics of the run; those that the model has measured itself stay as they
    are. A module whose test step returns no logits has nothing to write.

    Args:
        path: The folder, `predictions` of the run directory.
        metrics: What to measure, see `eztorch.evaluation.measure.measure`; None for all that fits, `[]` for nothing.
        groups: Groups of classes, see `eztorch.evaluation.groups.read_groups`, for accuracies of groups.
        bins: Number of bins of the calibration errors.
        threshold: From which probability on a class counts as told, where a sample has several.
        views: Whether the views are written too, each by itself.
        command: Command line that repeats the run.

    Attributes:
        checkpoint: The checkpoint whose weights are tested; None for those of a training that has just ended.
        written: What was written last; None before.

    Raises:
        ConfigError: A name is not known or a value cannot be.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        metrics: Sequence[str] | None = None,
        groups: str | Path | Mapping[Any, Any] | None = None,
        bins: int = 15,
        threshold: float = 0.5,
        views: bool = False,
        command: str = "",
    ) -> None:
        check_names(metrics or (), "evaluation.metrics")
        self.folder = Path(path)
        self.checkpoint: Path | None = None
        self.written: Path | None = None
        self._metrics, self._groups = metrics, groups
        self._options = MeasureOptions(bins=bins, threshold=threshold)
        self._keeps_views = views
        self._command = command
        self._seen = SeenViews(keep=views)
        self._totals: ViewTotals | None = None
        self._failures: list[tuple[int, str, Tensor | None]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was seen before."""
        self._seen, self._totals = SeenViews(keep=self._keeps_views), None
        self._failures, self.written = [], None

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the views of a batch, and its failures."""
        counting = {int(one.idx) for one in failures_that_count(batch)}
        for one in batch.get("failures") or ():
            label = torch.as_tensor(one.label).cpu() if int(one.idx) in counting else None
            self._failures.append((int(one.idx), str(one.path), label))
        if not isinstance(outputs, Mapping) or not isinstance(outputs.get("logits"), Tensor):  # several targets: none
            return
        logits, labels = outputs["logits"], batch["label"]
        if self._totals is None:
            self._totals = _totals_for(pl_module, labels)
        if self._totals.multi_label:
            labels = labels.float()
        elif labels.ndim == 2:  # soft labels: an evaluation takes the largest
            labels = labels.argmax(dim=1)
        self._totals.add(batch["idx"], labels, logits)
        self._seen.add(batch, logits)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring everything together, write it and measure it."""
        kinds = all_gather_list([] if self._totals is None else [self._totals.multi_label])
        if not kinds:
            say(trainer, "The test gave no logits of one kind of classes: there are no predictions to write.")
            return
        # None where every sample of this process failed, or it had none.
        totals = self._totals or ViewTotals(_aggregation(pl_module), multi_label=kinds[0])
        self._totals = None  # the tensors of a large test are not kept
        predictions = self._predictions(trainer, totals, pl_module.device)
        if trainer.is_global_zero:
            self.written = self.folder / f"test{SUFFIX}"
            predictions.save(self.written)
            write_class_table(predictions, self.folder / "test_classes.csv")
        self._publish(trainer, predictions)

    def _predictions(self, trainer: Trainer, totals: ViewTotals, device: torch.device) -> Predictions:
        videos = totals.videos_of_all_processes(device)
        failures = sorted(dict((idx, (path, label)) for idx, path, label in all_gather_list(self._failures)).items())
        wrong = [(idx, label) for idx, (_, label) in failures if label is not None]
        datamodule = trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        dataset = datamodule.dataset("test") if hasattr(datamodule, "dataset") else None
        protocol = {
            "split": "test",
            **self._seen.facts(videos.counts),
            "aggregation": str(totals.aggregation),
            "scores": "sigmoid" if totals.multi_label else "softmax",
            **_weights(self.checkpoint, trainer),
            "n_evaluated": len(videos.idx),
            "n_expected": getattr(datamodule, "test_num_samples", None),
            "on_error": (getattr(datamodule, "specs", {}).get("test") or {}).get("on_error", "skip"),
            "failures": [path for _, (path, _) in failures],
            "command": self._command,
            "eztorch": eztorch.__version__,
        }
        return Predictions(
            videos.idx,
            videos.labels,
            videos.scores.float(),
            self._seen.names(videos.idx, dataset),
            tuple(getattr(dataset, "classes", ()) or ()),
            protocol,
            videos.counts,
            _unanswered(wrong, multi_label=totals.multi_label),
            self._seen.scores(device, multi_label=totals.multi_label),
        )

    def _publish(self, trainer: Trainer, predictions: Predictions) -> None:
        options = self._options
        if self._groups is not None:
            names, num = predictions.class_names, predictions.scores.shape[1]
            groups = read_groups(self._groups, class_names=names, num_classes=num, key="evaluation.groups")
            options = MeasureOptions(groups, options.bins, options.threshold)
        if self._metrics is not None and not len(self._metrics):
            return
        found = {f"test/{name}": value for name, value in measure(predictions, self._metrics, options).items()}
        known = trainer.callback_metrics
        publish(trainer, {name: value for name, value in found.items() if name not in known and value == value})


def _aggregation(module: LightningModule) -> Aggregation:
    metric = getattr(module, "test_metric", None)
    return (isinstance(metric, EvaluationMetric) and metric.aggregation) or Aggregation()


def _totals_for(module: LightningModule, labels: Tensor) -> ViewTotals:
    metric = getattr(module, "test_metric", None)
    several = metric.multi_label if isinstance(metric, EvaluationMetric) else labels.ndim == 2
    return ViewTotals(_aggregation(module), multi_label=several)


def _unanswered(wrong: list[tuple[int, Tensor]], *, multi_label: bool) -> Unanswered | None:
    if not wrong:
        return None
    idx, stacked = torch.tensor([idx for idx, _ in wrong]), torch.stack([label for _, label in wrong])
    if multi_label:
        return Unanswered(idx, stacked.float())
    return Unanswered(idx, stacked.argmax(dim=1) if stacked.ndim == 2 else stacked.long())


def _weights(checkpoint: Path | None, trainer: Trainer) -> dict[str, Any]:
    """Say whose weights were tested; the digest is that of the file, read by rank 0 alone."""
    if checkpoint is None:
        return {"checkpoint": None, "global_step": trainer.global_step}
    digest = file_digest(checkpoint) if trainer.is_global_zero else None
    return {"checkpoint": str(checkpoint.absolute()), "checkpoint_sha256": digest}
