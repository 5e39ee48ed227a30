"""What a classifier is trained on and measured by: one class a sample, or several.

B samples of a batch, K classes. A classifier holds its criterion, which says what of a batch its outputs are compared
with, and how. Outputs are logits here, shape (B, K), and targets the labels of the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from eztorch.losses.class_loss import class_loss, multi_label_loss
from eztorch.models.class_weights import ClassWeights
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
    def look_at(self, datamodule: Any, *, training: bool) -> None:
        """Take what is needed of the data, before the first step.

        Args:
            datamodule: That of the run, None without one.
            training: Whether the run trains.
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
        gamma: How much less a sample counts in training that is right already: the focal loss, see `class_loss`.
        class_weights: How much a sample counts in training by its class.
    """

    label_smoothing: float = 0.0
    gamma: float = 0.0
    class_weights: ClassWeights = field(default_factory=ClassWeights)

    def look_at(self, datamodule: Any, *, training: bool) -> None:
        """Take the training labels, where they say how much a class counts."""
        if training:
            self.class_weights.look_at(datamodule)

    def targets(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the labels."""
        labels: Tensor = batch["label"]
        return labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of the samples with a label, 0 without any."""
        return class_loss(
            outputs,
            targets,
            label_smoothing=self.label_smoothing,
            class_weights=self.class_weights.on(outputs.device, outputs.shape[1]),
            gamma=self.gamma,
        )

    def accuracies(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return top-1 and, of more than 5 classes, top-5."""
        return accuracies(outputs, self.answers(targets))

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> EvaluationMetric:
        """Make the metric of samples with one class."""
        return evaluation_metric(time_augmentation, key)

    def answers(self, targets: Tensor) -> Tensor:
        """Return classes, shape (B,), -1 for a soft label that is of none."""
        if targets.ndim == 1:
            return targets
        return torch.where(targets.sum(dim=1) > 0, targets.argmax(dim=1), -1)

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
        gamma: How much less a class counts in training that is told already: the focal loss, see `multi_label_loss`.
        alpha: Weight of the classes that are there, against 1 - alpha of those that are not; None for 1 of both.
    """

    label_smoothing: float = 0.0
    gamma: float = 0.0
    alpha: float | None = None

    def look_at(self, datamodule: Any, *, training: bool) -> None:
        """Take nothing."""

    def targets(self, batch: Mapping[str, Any]) -> Tensor:
        """Return the labels."""
        labels: Tensor = batch["label"]
        return labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean binary cross-entropy."""
        return multi_label_loss(
            outputs, targets, label_smoothing=self.label_smoothing, gamma=self.gamma, alpha=self.alpha
        )

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


_LOSSES: Mapping[str, tuple[type[CrossEntropy] | type[BinaryCrossEntropy], Mapping[str, float]]] = {
    "cross_entropy": (CrossEntropy, {}),
    "focal": (CrossEntropy, {"gamma": 2.0}),
    "bce": (BinaryCrossEntropy, {}),
    "binary_focal": (BinaryCrossEntropy, {"gamma": 2.0, "alpha": 0.25}),  # of its paper
}


def make_criterion(
    loss: str | Mapping[str, Any],
    *,
    label_smoothing: float = 0.0,
    class_weights: str | Sequence[float] | None = None,
) -> Criterion:
    """Make the criterion of a `model.loss`.

    Args:
        loss: `cross_entropy`, `focal`, `bce` or `binary_focal`, or a mapping of a `name` and what is to be changed of
            it: `gamma` of both focal ones, `alpha` of the binary one.
        label_smoothing: See the criteria.
        class_weights: `balanced`, or a number for each class; of one class a sample alone. See `ClassWeights`.

    Raises:
        ConfigError: The name or a key is not known, a value is out of its range, or there are weights of classes where
            a sample has several.

    >>> make_criterion({"name": "focal", "gamma": 1.5}).gamma
    1.5
    """
    named = {"name": loss} if isinstance(loss, str) else loss
    if not isinstance(named, Mapping) or "name" not in named:
        raise ConfigError(f"model.loss={loss!r}; expected a name, or a mapping of a name and its options.")
    kind, defaults = choose(_LOSSES, named["name"], "model.loss.name" if named is loss else "model.loss")
    options: dict[str, Any] = {key: value for key, value in named.items() if key != "name"}
    for key, value in options.items():
        if key not in defaults:
            known = f"it takes {' and '.join(defaults)}" if defaults else "it takes no options"
            raise ConfigError(f"model.loss.{key}: {named['name']} has no such option; {known}.")
        if not (isinstance(value, int | float) and value >= 0) or (key == "alpha" and value > 1):
            expected = "a share from 0 to 1" if key == "alpha" else "a number of at least 0"
            raise ConfigError(f"model.loss.{key}={value!r}; expected {expected}.")
    if class_weights is not None:
        if kind is not CrossEntropy:
            raise ConfigError(
                f"model.class_weights are of one class a sample, and model.loss={named['name']} of several."
            )
        options["class_weights"] = ClassWeights(class_weights)
    return kind(label_smoothing, **{**defaults, **options})
