"""Supervised classification of samples that have several targets each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.models.classifier import Classifier, ClassifierKeys
from eztorch.models.criteria import CrossEntropy, make_criterion
from eztorch.models.target_criterion import TargetCriterion
from eztorch.models.transfer import count_layers, layer_of
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean


class MultiTargetModel(Classifier):
    """A trunk with a head for each target of a sample, such as the verb and the noun of an action.

    The loss is the weighted sum of those of the targets. Training gives the scalars `train/loss`, of every target t
    `train/{t}_loss`, `train/{t}_acc_1` and `train/{t}_acc_5`, and `train/acc_1` and `train/acc_5` of all targets at
    once; evaluation logs the same (`eztorch.models.target_scores.TargetScores`), with `n_evaluated` and `n_expected`.

    Args:
        trunk: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to features that every head takes.
        heads: Module or spec of each target, by the name under which the samples have its label: from features to
            logits, shape (B, K).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        weights: Of the loss of each target, by name; 1 where none is written.
        label_smoothing: Share of every target that is spread over all its classes in training.
        loss: `cross_entropy` or `focal`, or a mapping of the `name` and its `gamma`.
        **shared: Transforms and time augmentations, see `Classifier`.

    Raises:
        ConfigError: There is no head, a weight is of no head or not above 0, the loss is of several classes a target,
            or a head takes features of another length than the trunk gives.
    """

    trunk: Any
    heads: Any

    def __init__(
        self,
        trunk: nn.Module | Mapping[str, Any],
        heads: Mapping[str, Any],
        optimizer: Any,
        *,
        weights: Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
        loss: str | Mapping[str, Any] = "cross_entropy",
        **shared: Unpack[ClassifierKeys],
    ) -> None:
        if not heads:
            raise ConfigError("model.heads is empty; expected a head for each target, by the name of its label.")
        part = make_criterion(loss, label_smoothing=label_smoothing)
        if not isinstance(part, CrossEntropy):
            raise ConfigError(f"model.loss={loss!r} is of several classes a target; expected cross_entropy or focal.")
        criterion = TargetCriterion(dict.fromkeys(heads, part), _weights(heads, weights or {}))
        super().__init__(optimizer, criterion, **shared)
        self.trunk = build(trunk)
        self.heads = nn.ModuleDict({name: build(head) for name, head in heads.items()})
        given = getattr(self.trunk, "num_features", None)
        for name, head in self.heads.items():
            expected = getattr(head, "input_dim", None)
            if given is not None and expected is not None and given != expected:
                raise ConfigError(f"model.heads.{name} takes {expected} features, and the trunk gives {given}.")

    @property
    def num_layers(self) -> int:
        """Number of layers of the trunk and of the highest head, for layer-wise learning rates."""
        return max(count_layers(self.trunk, head) for head in self.heads.values())

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter by its name; heads lie side by side."""
        part, _, rest = name.partition(".")
        if part == "trunk":
            return layer_of(name, self.trunk, None)
        target, _, rest = rest.partition(".")
        return layer_of(f"classifier.{rest}", self.trunk, self.heads[target])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits of each target, shape (B, K), of an input, shape (B, C, T, H, W) or (B, C, H, W)."""
        features = self.trunk(x)
        return {name: head(features) for name, head in self.heads.items()}


def _weights(heads: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of every target."""
    for name, weight in weights.items():
        if name not in heads:
            hint = did_you_mean(name, heads, f"There are {', '.join(heads)}.")
            raise ConfigError(f"model.weights.{name}: there is no such head.{hint}")
        if not (isinstance(weight, int | float) and weight > 0):
            raise ConfigError(f"model.weights.{name}={weight!r}; expected a number above 0.")
    return {name: float(weights.get(name, 1.0)) for name in heads}
