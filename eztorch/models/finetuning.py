"""Fine-tuning: a trunk that was trained before, and a classifier on its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.models.classifier import Classifier, ClassifierKeys
from eztorch.models.criteria import make_criterion
from eztorch.models.steps import passes_per_epoch
from eztorch.models.transfer import build_classifier, build_trunk, count_layers, layer_of
from eztorch.modules import batch_norms, keep_frozen
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

# Whether the parameters of frozen normalisations are frozen, too; None: they are not frozen.
_FROZEN_NORMS: Mapping[Any, bool | None] = {"False": None, "True": False, "statistics": False, "all": True}


class FinetuningModel(Classifier):
    r"""Trains a pretrained trunk, or a part of it, together with a new classifier.

    The weights are those of `pretrained.path` of the configuration, or of `pretrained_trunk_path`. What is measured and
    logged is as in `SupervisedModel`.

    Args:
        trunk: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to features, shape (B, D).
        classifier: Module or spec, from features to logits, shape (B, K).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
            `eztorch.optimizers.optimizer_factory_two_groups` has a rate for the trunk and one for the classifier;
            `layer_decay_lr` goes over the layers of both.
        pretrained_trunk_path: File of weights of the trunk, see `eztorch.models.weights.load_weights`.
        trunk_pattern: What the names of the trunk begin with in that file, for example `^(trunk\.)`; None: found out.
        two_groups: Whether the optimizer has a rate for each part. None takes what it has; where the key is given, it
            has to be true of the optimizer.
        freeze_trunk: The trunk stays as it is: weights and statistics, to the last bit.
        update_bn_momentum: Let the statistics of batch normalisations follow as SimCLR's fine-tuning does (arXiv
            2002.05709, appendix B.8): with s batches an epoch the old statistics are kept with `max(1 - 10 / s, 0.9)`,
            so that torch's momentum, the weight of the new ones, is `min(10 / s, 0.1)`. It is less than torch's 0.1
            where an epoch has more than 100 batches.
        freeze_bn_layers: `statistics` (or true): the batch normalisations of the trunk use the statistics that they
            have; `all`: their scales and shifts do not learn either.
        label_smoothing: Share of the target that is spread over all classes in training.
        loss: See `SupervisedModel`.
        class_weights: See `SupervisedModel`.
        **shared: Transforms and time augmentations, see `Classifier`.

    Raises:
        ConfigError: The weights do not load, the networks do not fit together, or keys exclude each other.
    """

    def __init__(
        self,
        trunk: nn.Module | Mapping[str, Any],
        classifier: nn.Module | Mapping[str, Any],
        optimizer: Any,
        *,
        pretrained_trunk_path: str | None = None,
        trunk_pattern: str | None = None,
        two_groups: bool | None = None,
        freeze_trunk: bool = False,
        update_bn_momentum: bool = False,
        freeze_bn_layers: bool | str = False,
        label_smoothing: float = 0.0,
        loss: str | Mapping[str, Any] = "cross_entropy",
        class_weights: str | Sequence[float] | None = None,
        **shared: Unpack[ClassifierKeys],
    ) -> None:
        criterion = make_criterion(loss, label_smoothing=label_smoothing, class_weights=class_weights)
        super().__init__(optimizer, criterion, **shared)
        self.frozen_norms = choose(_FROZEN_NORMS, str(freeze_bn_layers), "model.freeze_bn_layers")
        _check_groups(two_groups, optimizer, freeze_trunk=freeze_trunk)
        if update_bn_momentum and (freeze_trunk or self.frozen_norms is not None):
            raise ConfigError(
                "model.update_bn_momentum=true is about statistics that follow the batches, and those are frozen by "
                f"model.{'freeze_trunk=true' if freeze_trunk else f'freeze_bn_layers={freeze_bn_layers}'}."
            )
        self.trunk = build_trunk(trunk, pretrained_trunk_path, trunk_pattern)
        self.classifier = build_classifier(classifier, self.trunk)
        self.freeze_trunk = freeze_trunk
        self.update_bn_momentum = update_bn_momentum
        self.train()

    @property
    def num_layers(self) -> int:
        """Number of layers of trunk and classifier, for layer-wise learning rates."""
        return count_layers(self.trunk, self.classifier)

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter by its name."""
        return layer_of(name, self.trunk, self.classifier)

    def train(self, mode: bool = True) -> FinetuningModel:
        """Set the mode; what is frozen stays in that of evaluation."""
        super().train(mode)
        if self.freeze_trunk:
            keep_frozen([self.trunk])
        elif self.frozen_norms is not None:
            keep_frozen(batch_norms(self.trunk), parameters=self.frozen_norms)
        return self

    def on_train_start(self) -> None:
        """Set the momentum of the batch normalisations, now that the length of an epoch is known."""
        if self.update_bn_momentum:
            batches = int(self.trainer.num_training_batches) // passes_per_epoch(self.trainer)
            for norm in batch_norms(self):
                norm.momentum = min(10 / batches, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (B, K), of an input, shape (B, C, T, H, W) or (B, C, H, W)."""
        logits: Tensor = self.outputs(x)["logits"]
        return logits

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits, shape (B, K), and the features h of the trunk, shape (B, D), of an input."""
        h = self.trunk(x)
        return {"logits": self.classifier(h), "h": h}


def _check_groups(two_groups: bool | None, optimizer: Any, *, freeze_trunk: bool) -> None:
    """Refuse a `two_groups` that is not true of the optimizer, and a rate for a trunk that does not learn."""
    if not isinstance(optimizer, Mapping):
        return
    has_two = "initial_lr1" in optimizer
    if two_groups is not None and two_groups != has_two:
        factory = "optimizer_factory_two_groups" if two_groups else "optimizer_factory"
        raise ConfigError(
            f"model.two_groups={str(two_groups).lower()}, and model.optimizer has "
            f"{'initial_lr1' if has_two else 'one rate'}: write _target_: eztorch.optimizers.{factory} with "
            f"{'initial_lr1 (trunk) and initial_lr2 (classifier)' if two_groups else 'initial_lr'}."
        )
    if has_two and freeze_trunk:
        raise ConfigError("model.optimizer has a rate for the trunk, initial_lr1, and model.freeze_trunk=true.")
