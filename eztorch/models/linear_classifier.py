"""Linear evaluation: what a linear classifier makes of the features of a frozen trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.models.classifier import Classifier, ClassifierKeys
from eztorch.models.criteria import make_criterion
from eztorch.models.transfer import build_classifier, build_trunk
from eztorch.modules import keep_frozen


class LinearClassifierEvaluation(Classifier):
    r"""Trains a classifier on the features of a trunk that stays as it is, weights and statistics, to the last bit.

    The trunk is in evaluation mode and has no gradient and no state of the optimizer. Its weights are those of
    `pretrained.path` of the configuration, or of `pretrained_trunk_path`. What is measured and logged is as in
    `SupervisedModel`.

    Args:
        trunk: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to features, shape (B, D).
        classifier: Module or spec, from features to logits, shape (B, K).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        pretrained_trunk_path: File of weights of the trunk, see `eztorch.models.weights.load_weights`.
        trunk_pattern: What the names of the trunk begin with in that file, for example `^(trunk\.)`; None: found out.
        label_smoothing: Share of the target that is spread over all classes in training.
        loss: See `SupervisedModel`.
        class_weights: See `SupervisedModel`.
        **shared: Transforms and time augmentations, see `Classifier`.

    Raises:
        ConfigError: The weights do not load, or the networks do not fit together.
    """

    def __init__(
        self,
        trunk: nn.Module | Mapping[str, Any],
        classifier: nn.Module | Mapping[str, Any],
        optimizer: Any,
        *,
        pretrained_trunk_path: str | None = None,
        trunk_pattern: str | None = None,
        label_smoothing: float = 0.0,
        loss: str | Mapping[str, Any] = "cross_entropy",
        class_weights: str | Sequence[float] | None = None,
        **shared: Unpack[ClassifierKeys],
    ) -> None:
        criterion = make_criterion(loss, label_smoothing=label_smoothing, class_weights=class_weights)
        super().__init__(optimizer, criterion, **shared)
        self.trunk = build_trunk(trunk, pretrained_trunk_path, trunk_pattern)
        self.classifier = build_classifier(classifier, self.trunk)
        self.train()

    def train(self, mode: bool = True) -> LinearClassifierEvaluation:
        """Set the mode; the trunk stays in that of evaluation."""
        super().train(mode)
        keep_frozen([self.trunk])
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (B, K), of an input, shape (B, C, T, H, W) or (B, C, H, W)."""
        logits: Tensor = self.outputs(x)["logits"]
        return logits

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits, shape (B, K), and the features h of the trunk, shape (B, D), of an input."""
        h = self.trunk(x)
        return {"logits": self.classifier(h), "h": h}
