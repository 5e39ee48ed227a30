"""Supervised classification of videos and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.models.classifier import Classifier, ClassifierKeys
from eztorch.models.criteria import make_criterion
from eztorch.utils.config import build


class SupervisedModel(Classifier):
    """A classifier of samples with one class each, or with several.

    Training gives the scalars `train/{loss,acc_1,acc_5}` of every step; evaluation logs
    `{val,test}/{loss,acc_1,acc_5}`, with `n_evaluated` and `n_expected`, see `Classifier`. `acc_5` needs more than 5
    classes. Samples without a label (-1) are left out. Where a split has `on_error: count_as_wrong`, accuracies are
    over the failures too, and the loss is not.

    With `loss: bce` or `binary_focal` a sample has a weight for every class, `(B, K)`. `acc_k` is then the share of the
    samples with a class that have one of theirs among the k highest, and `map`, the mean average precision, joins in.

    Args:
        model: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to logits, shape (B, K).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        label_smoothing: Share of the target that is spread over all classes in training.
        loss: `cross_entropy` or `focal` (classes, or soft labels), `bce` or `binary_focal` (several labels), or a
            mapping of such a `name` and its `gamma` and `alpha`; see `eztorch.models.criteria`.
        class_weights: How much a training sample counts by its class: `balanced`, or a number for each class.
        **shared: Transforms and time augmentations, see `Classifier`.
    """

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        optimizer: Any,
        *,
        label_smoothing: float = 0.0,
        loss: str | Mapping[str, Any] = "cross_entropy",
        class_weights: str | Sequence[float] | None = None,
        **shared: Unpack[ClassifierKeys],
    ) -> None:
        criterion = make_criterion(loss, label_smoothing=label_smoothing, class_weights=class_weights)
        super().__init__(optimizer, criterion, **shared)
        self.model: nn.Module = build(model)

    @property
    def num_layers(self) -> int:
        """Number of layers of the model, for layer-wise learning rates."""
        return int(self.model.num_layers)  # type: ignore[arg-type]  # nn.Module types attributes as tensors

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter by its name."""
        return int(self.model.get_param_layer_id(name.removeprefix("model.")))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (B, K), of an input, shape (B, C, T, H, W) or (B, C, H, W)."""
        logits: Tensor = self.model(x)
        return logits
