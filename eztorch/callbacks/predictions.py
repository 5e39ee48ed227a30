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
from eztorch.utils.errors import ConfigError
from eztorch.utils.files import file_digest


class PredictionWriter(Callback):
    """Writes the predictions of the test split, and measures them.

    After a test, `test.safetensors` has a row a video, its views brought together by the model's
    `test_time_augmentation`, or by the mean of their probabilities where it has none; `test.json` beside it says what
    they are and how they came to be, `test_classes.csv` what there is to say of each class. See
    `eztorch.evaluation.predictions.Predictions`. Everything is of all processes, each video once; rank 0 writes it.

    The measures stand as `test/<name>` in the metrics of the run; those that the model has measured itself stay as they
    are. A module whose test step returns no logits has nothing to write. Of one that returns logits by the names of
    several targets, each target has files and measures of its own: `test_verb.safetensors`, `test/verb_<name>`.

    Args:
        path: The folder, `predictions` of the run directory.
        metrics: What to measure, see `eztorch.evaluation.measure.measure`; None for all that fits, `[]` for nothing.
        groups: Groups of classes, see `eztorch.evaluation.groups.read_groups`, for accuracies of groups; of several
            targets they are of that which is the label of the data (`task` of the datamodule).
        bins: Number of bins of the calibration errors.
        threshold: From which probability on a class counts as told, where a sample has several.
        views: Whether the views are written too, each by itself.
        command: Command line that repeats the run.

    Attributes:
        checkpoint: The checkpoint whose weights are tested; None for those of a training that has just ended.
        written: What was written last, a file a target; on rank 0.

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
        self.written: list[Path] = []
        self._metrics, self._groups = metrics, groups
        self._options = MeasureOptions(bins=bins, threshold=threshold)
        self._keeps_views = views
        self._command = command
        self._seen = SeenViews(keep=views)
        self._totals: dict[str, ViewTotals] = {}  # by target; that of a model with one has no name
        self._failures: list[tuple[int, str, Tensor | None]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was seen before."""
        self._seen, self._totals = SeenViews(keep=self._keeps_views), {}
        self._failures, self.written = [], []

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
        if not isinstance(batch, Mapping) or not ("idx" in batch or batch.get("failures")):
            raise ConfigError(
                "Predictions are kept of batches with input, label and idx, and those of this datamodule are none; "
                "evaluation.predictions=false tests without."
            )
        counting = {int(one.idx) for one in failures_that_count(batch)}
        for one in batch.get("failures") or ():
            label = torch.as_tensor(one.label).cpu() if int(one.idx) in counting else None
            self._failures.append((int(one.idx), str(one.path), label))
        logits = _logits_by_target(outputs, batch)
        if not logits:
            return
        for target, one in logits.items():
            labels = batch[target or "label"]
            totals = self._totals.setdefault(target, _totals_for(pl_module, labels))
            if totals.multi_label:
                labels = labels.float()
            elif labels.ndim == 2:  # soft labels: an evaluation takes the largest
                labels = labels.argmax(dim=1)
            totals.add(batch["idx"], labels, one)
        self._seen.add(batch, logits)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring everything together, write it and measure it."""
        # Those of all processes, in one order: a process all of whose samples failed has seen none.
        kinds = dict(all_gather_list([(target, totals.multi_label) for target, totals in self._totals.items()]))
        if not kinds:
            say(trainer, "The test gave no logits: there are no predictions to write.")
        for target, multi_label in kinds.items():
            # The tensors of a large test are not kept.
            totals = self._totals.pop(target, None) or ViewTotals(_aggregation(pl_module), multi_label=multi_label)
            predictions = self._predictions(trainer, target, totals, pl_module.device)
            if trainer.is_global_zero:
                stem = f"test_{target}" if target else "test"
                self.written.append(self.folder / f"{stem}{SUFFIX}")
                predictions.save(self.written[-1])
                write_class_table(predictions, self.folder / f"{stem}_classes.csv")
            self._publish(trainer, target, predictions)

    def _predictions(self, trainer: Trainer, target: str, totals: ViewTotals, device: torch.device) -> Predictions:
        videos = totals.videos_of_all_processes(device)
        failures = sorted(dict((idx, (path, label)) for idx, path, label in all_gather_list(self._failures)).items())
        datamodule = trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        dataset = datamodule.dataset("test") if hasattr(datamodule, "dataset") else None
        wrong = [(idx, _label_of(target, idx, label, dataset)) for idx, (_, label) in failures if label is not None]
        protocol = {
            "split": "test",
            **({"target": target} if target else {}),
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
            tuple(getattr(dataset, "classes", ()) or ()) if _is_label(target, datamodule) else (),
            protocol,
            videos.counts,
            _unanswered(wrong, multi_label=totals.multi_label),
            self._seen.scores(target, device, multi_label=totals.multi_label),
        )

    def _publish(self, trainer: Trainer, target: str, predictions: Predictions) -> None:
        options = self._options
        datamodule = trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        if self._groups is not None and _is_label(target, datamodule):
            names, num = predictions.class_names, predictions.scores.shape[1]
            groups = read_groups(self._groups, class_names=names, num_classes=num, key="evaluation.groups")
            options = MeasureOptions(groups, options.bins, options.threshold)
        if self._metrics is not None and not len(self._metrics):
            return
        prefix = f"test/{target}_" if target else "test/"
        found = {f"{prefix}{name}": value for name, value in measure(predictions, self._metrics, options).items()}
        known = trainer.callback_metrics
        publish(trainer, {name: value for name, value in found.items() if name not in known and value == value})


def _logits_by_target(outputs: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the logits of the targets of a batch, those of a model with one target under an empty name."""
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    if isinstance(logits, Tensor):
        return {"": logits}
    return {name: one for name, one in logits.items() if name in batch} if isinstance(logits, Mapping) else {}


def _is_label(target: str, datamodule: Any) -> bool:
    """Say whether a target is what the data has as its label, whose classes it names."""
    return target in ("", getattr(datamodule, "task", None))


def _label_of(target: str, idx: int, label: Tensor, dataset: Any) -> Tensor:
    """Return the label of a sample that could not be read, of one of several targets from the data set that has it."""
    if not target:
        return label
    videos = getattr(dataset, "videos", None)
    return torch.tensor(-1 if videos is None else videos.target(idx)[target])


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
