"""What a classifier is trained on and measured by: one class a sample, or several.

B samples of a batch, K classes. Each criterion is an object with the loss of a batch, the accuracies that are written
beside it, the metric of an evaluation, and the check of labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from eztorch.models.metrics import accuracies, evaluation_metric
from eztorch.models.multi_label import top_accuracies
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose


@dataclass(frozen=True)
class CrossEntropy:
    """One class a sample, an int (-1 for none, left out), or weights of the classes that sum to 1 (soft labels).

    An evaluation takes the largest weight of a soft label for its class.

    Attributes:
        label_smoothing: Share of the target that is spread over all classes in training.
    """

    label_smoothing: float = 0.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy of the samples with a label, 0 without any."""
        if labels.ndim == 2:
            return F.cross_entropy(logits.float(), labels.float(), label_smoothing=self.label_smoothing)
        total = F.cross_entropy(
            logits.float(), labels, ignore_index=-1, reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / (labels >= 0).sum().clamp(min=1)

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return top-1 and, of more than 5 classes, top-5."""
        return accuracies(logits, self.answers(labels))

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> Any:
        """Make the metric of samples with one class."""
        return evaluation_metric(time_augmentation, key)

    def answers(self, labels: Tensor) -> Tensor:
        """Return classes, shape (B,)."""
        return labels.argmax(dim=1) if labels.ndim == 2 else labels

    def check(self, labels: Tensor, num_logits: int) -> None:
        """Refuse classes outside the logits, and weights that do not sum to 1; the device is waited for.

        Raises:
            WrongLabelError: A label cannot be.
            ConfigError: They are of another kind, or do not fit the logits.
        """
        if labels.ndim == 1:
            wrong = ((labels < -1) | (labels >= num_logits)).nonzero()
            if len(wrong):
                raise WrongLabelError(
                    int(wrong[0]),
                    f"has label {int(labels[wrong[0]])}; the model gives {num_logits} logits, for labels 0 to "
                    f"{num_logits - 1} (-1: none).",
                )
            return
        _check_width(labels, num_logits)
        sums = labels.float().sum(dim=1)
        wrong = (~torch.isclose(sums, torch.ones_like(sums), atol=1e-3)).nonzero()
        if len(wrong):
            raise ConfigError(
                f"The labels of a sample sum to {float(sums[wrong[0]]):g}, and model.loss=cross_entropy is about one "
                "class a sample. Where a sample may have several, or none, write model.loss=bce."
            )


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Any number of classes a sample: a weight from 0 to 1 for each, shape (B, K).

    The loss is the mean over samples and classes of the binary cross-entropy of sigmoid(logit).

    Attributes:
        label_smoothing: Share of the target that is spread over yes and no in training.
    """

    label_smoothing: float = 0.0

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean binary cross-entropy."""
        targets = labels.float() * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), targets)

    def accuracies(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the share of samples that have a class among the highest logits."""
        return top_accuracies(logits, labels)

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> Any:
        """Make the metric of samples with several classes."""
        return evaluation_metric(time_augmentation, key, multi_label=True)

    def answers(self, labels: Tensor) -> Tensor:
        """Return the labels as they are."""
        return labels

    def check(self, labels: Tensor, num_logits: int) -> None:
        """Refuse single classes, and weights outside 0 to 1; see `CrossEntropy.check`."""
        if labels.ndim == 1:
            raise ConfigError("model.loss=bce takes a weight for every class, and the samples have one class each.")
        _check_width(labels, num_logits)
        wrong = ((labels < 0) | (labels > 1)).any(dim=1).nonzero()
        if len(wrong):
            raise WrongLabelError(int(wrong[0]), f"has labels {labels[wrong[0, 0]].tolist()}, not all from 0 to 1.")


class WrongLabelError(DataError):
    """A sample of a batch has a label that cannot be.

    Attributes:
        position: Its position in the batch.
    """

    def __init__(self, position: int, text: str) -> None:
        super().__init__(text)
        self.position = position


def _check_width(labels: Tensor, num_logits: int) -> None:
    if labels.shape[1] != num_logits:
        raise ConfigError(f"The labels have {labels.shape[1]} classes, and the model gives {num_logits} logits.")


Criterion: TypeAlias = CrossEntropy | BinaryCrossEntropy
_CRITERIA: Mapping[str, type[Criterion]] = {
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
