"""What a classifier of several targets is trained on and measured by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eztorch.models.criteria import Criterion, CrossEntropy, WrongLabelError
from eztorch.models.evaluation_metric import EvaluationMetric
from eztorch.models.metrics import accuracies
from eztorch.models.target_scores import TargetScores, joint_hits
from eztorch.models.views import read_aggregation
from eztorch.utils.errors import ConfigError, DataError


class TargetCriterion(Criterion):
    """Several targets of a sample, each of one class: outputs and targets are mappings by their names.

    Args:
        parts: The criterion of each target. Its name is the key of the labels in a batch.
        weights: Of the loss of each target, by the same names.
    """

    def __init__(self, parts: Mapping[str, CrossEntropy], weights: Mapping[str, float]) -> None:
        self.parts, self.weights = dict(parts), dict(weights)
        self.target_classes: Mapping[str, int] = {}

    def look_at(self, datamodule: Any, *, training: bool) -> None:
        """Note how many classes the targets have, where the datamodule tells it (`target_classes`)."""
        self.target_classes = getattr(datamodule, "target_classes", {})

    def targets(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the labels by target.

        Raises:
            DataError: The samples do not have one of them.
        """
        for name in self.parts:
            if name not in batch:
                raise DataError(
                    f"model.heads.{name}: the samples have no such target; a batch has {', '.join(sorted(batch))}."
                )
        return {name: batch[name] for name in self.parts}

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses of the targets."""
        losses = [self.weights[name] * part.loss(outputs[name], targets[name]) for name, part in self.parts.items()]
        return torch.stack(losses).sum()

    def accuracies(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return loss and accuracies of each target under its name, and the accuracies of all at once."""
        answers, values = self.answers(targets), {}
        for name, part in self.parts.items():
            values[f"{name}_loss"] = part.loss(outputs[name], targets[name])
            found = accuracies(outputs[name], answers[name])
            values |= {f"{name}_{measure}": value for measure, value in found.items()}
        log_p = {name: outputs[name].float().log_softmax(dim=1) for name in self.parts}
        known = torch.stack([labels >= 0 for labels in answers.values()]).all(dim=0)
        return values | {name: (hit & known).sum() / known.sum() for name, hit in joint_hits(log_p, answers).items()}

    def metric(self, time_augmentation: Mapping[str, Any] | None, key: str) -> EvaluationMetric:
        """Make the metric of several targets."""
        return TargetScores(
            self.weights, None if time_augmentation is None else read_aggregation(time_augmentation, key)
        )

    def answers(self, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the class of each target, shape (B,)."""
        return {name: part.answers(targets[name]) for name, part in self.parts.items()}

    def check_classes(self, outputs: Mapping[str, Tensor], num_classes: Any) -> None:
        """Refuse fewer logits than a target has classes."""
        for name, part in self.parts.items():
            try:
                part.check_classes(outputs[name], self.target_classes.get(name, 0))
            except ConfigError as error:
                raise ConfigError(f"model.heads.{name}: {error}") from error

    def check(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Refuse classes outside the logits of their target."""
        for name, part in self.parts.items():
            try:
                part.check(outputs[name], targets[name])
            except WrongLabelError as error:
                raise WrongLabelError(error.position, f"({name}) {error}") from error
            except ConfigError as error:
                raise ConfigError(f"model.heads.{name}: {error}") from error
