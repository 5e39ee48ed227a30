"""What a classifier is trained on and measured by: one class a sample, or several.

B samples of a batch, K classes. A classifier holds its criterion, which says what of a batch its outputs are compared
with, and how. Outputs are logits here, shape (B, K), and targets the labels of the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.evaluation_metric import EvaluationMetric
from eztorch.models.metrics import accuracies, evaluation_metric
from eztorch.models.multi_label import top_accuracies
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose


class Criterion(ABC):
    """What a classifier is trained on and measured by.

    A network of several heads has a criterion of several parts: its outputs and targets are then mappings by name.
    """

    @abstractmethod
    def targets(self, batch: Mapping[str, Any]) -> Any:
        """Return what of a batch the outputs are compared with."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Return the loss of a batch, shape ()."""

    @abstractmethod
    def accuracies(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Return what is written beside the loss of a training step, each of shape ()."""

    @abstractmethod
    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> EvaluationMetric:
        """Make the metric of an evaluation, whose `update` takes outputs, `answers` and the `idx` of the samples.

        Args:
            time_augmentation: How the views of a video are brought together.
            key: Configuration key it came from, for the messages.
        """

    @abstractmethod
    def answers(self, targets: Any) -> Any:
        """Return what the metric compares the outputs with."""

    @abstractmethod
    def check_classes(self, outputs: Any, num_classes: Any) -> None:
        """Refuse outputs that cannot tell the classes of the data.

        Args:
            outputs: Of the network.
            num_classes: What the datamodule says of its `num_classes`, 0 where it says nothing.

        Raises:
            ConfigError: There are fewer outputs than classes.
        """

    @abstractmethod
    def check(self, outputs: Any, targets: Any) -> None:
        """Refuse targets that cannot be; the device is waited for.

        Raises:
            WrongLabelError: A label cannot be.
            ConfigError: They are of another kind, or do not fit the outputs.
        """


@dataclass(frozen=True)
class CrossEntropy(Criterion):
    """One class a sample, an int (-1 for none, left out), or weights of the classes that sum to 1 (soft labels).

    An evaluation takes the largest weight of a soft label for its class.

    Attributes:
        label_smoothing: Share of the target that is spread over all classes in training.
    """

    label_smoothing: float = 0.0

    def targets(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the labels."""
        labels: Tensor = batch["label"]
        return labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of the samples with a label, 0 without any."""
        if targets.ndim == 2:
            return F.cross_entropy(outputs.float(), targets.float(), label_smoothing=self.label_smoothing)
        total = F.cross_entropy(
            outputs.float(), targets, ignore_index=-1, reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / (targets >= 0).sum().clamp(min=1)

    def accuracies(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return top-1 and, of more than 5 classes, top-5."""
        return accuracies(outputs, self.answers(targets))

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> EvaluationMetric:
        """Make the metric of samples with one class."""
        return evaluation_metric(time_augmentation, key)

    def answers(self, targets: Tensor) -> Tensor:
        """Return classes, shape (B,)."""
        return targets.argmax(dim=1) if targets.ndim == 2 else targets

    def check_classes(self, outputs: Tensor, num_classes: int) -> None:
        """Refuse fewer logits than classes."""
        _check_classes(outputs, num_classes)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Refuse classes outside the logits, and weights that do not sum to 1."""
        if targets.ndim == 1:
            num_logits = outputs.shape[1]
            wrong = ((targets < -1) | (targets >= num_logits)).nonzero()
            if len(wrong):
                raise WrongLabelError(
                    int(wrong[0]),
                    f"has label {int(targets[wrong[0]])}; the model gives {num_logits} logits, for labels 0 to "
                    f"{num_logits - 1} (-1: none).",
                )
            return
        _check_width(targets, outputs)
        sums = targets.float().sum(dim=1)
        wrong = (~torch.isclose(sums, torch.ones_like(sums), atol=1e-3)).nonzero()
        if len(wrong):
            raise ConfigError(
                f"The labels of a sample sum to {float(sums[wrong[0]]):g}, and model.loss=cross_entropy is about one "
                "class a sample. Where a sample may have several, or none, write model.loss=bce."
            )


@dataclass(frozen=True)
class BinaryCrossEntropy(Criterion):
    """Any number of classes a sample: a weight from 0 to 1 for each, shape (B, K).

    The loss is the mean over samples and classes of the binary cross-entropy of sigmoid(logit).

    Attributes:
        label_smoothing: Share of the target that is spread over yes and no in training.
    """

    label_smoothing: float = 0.0

    def targets(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the labels."""
        labels: Tensor = batch["label"]
        return labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean binary cross-entropy."""
        weights = targets.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs.float(), weights)

    def accuracies(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the share of samples that have a class among the highest logits."""
        return top_accuracies(outputs, targets)

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> EvaluationMetric:
        """Make the metric of samples with several classes."""
        return evaluation_metric(time_augmentation, key, multi_label=True)

    def answers(self, targets: Tensor) -> Tensor:
        """Return the labels as they are."""
        return targets

    def check_classes(self, outputs: Tensor, num_classes: int) -> None:
        """Refuse fewer logits than classes."""
        _check_classes(outputs, num_classes)

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Refuse single classes, and weights outside 0 to 1."""
        if targets.ndim == 1:
            raise ConfigError("model.loss=bce takes a weight for every class, and the samples have one class each.")
        _check_width(targets, outputs)
        wrong = ((targets < 0) | (targets > 1)).any(dim=1).nonzero()
        if len(wrong):
            raise WrongLabelError(int(wrong[0]), f"has labels {targets[wrong[0, 0]].tolist()}, not all from 0 to 1.")


class WrongLabelError(DataError):
    """A sample of a batch has a label that cannot be.

    Attributes:
        position: Its position in the batch.
    """

    def __init__(self, position: int, text: str) -> None:
        super().__init__(text)
        self.position = position


def _check_classes(logits: Tensor, num_classes: int) -> None:
    if logits.shape[1] < num_classes:
        raise ConfigError(f"The model gives {logits.shape[1]} logits, and the data has {num_classes} classes.")


def _check_width(labels: Tensor, logits: Tensor) -> None:
    if labels.shape[1] != logits.shape[1]:
        raise ConfigError(f"The labels have {labels.shape[1]} classes, and the model gives {logits.shape[1]} logits.")


_CRITERIA: Mapping[str, type[CrossEntropy] | type[BinaryCrossEntropy]] = {
    "cross_entropy": CrossEntropy,
    "bce": BinaryCrossEntropy,
}


def make_criterion(name: str, *, label_smoothing: float = 0.0) -> Criterion:
    """Make the criterion of a `model.loss`.

    Args:
        name: `cross_entropy` or `bce`.
        label_smoothing: See the criteria.

    Raises:
        ConfigError: The name is not known.
    """
    return choose(_CRITERIA, name, "model.loss")(label_smoothing)
