"""How much a sample counts in training by its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eztorch.losses.class_loss import balanced_weights
from eztorch.utils.errors import ConfigError


class ClassWeights:
    """Weights of the classes: none, those that are given, or those by which every class counts the same.

    Args:
        given: A number for each class; `balanced` for those of the training labels, see `balanced_weights`; None for
            none.

    Raises:
        ConfigError: It is neither.
    """

    def __init__(self, given: str | Sequence[float] | None = None) -> None:
        self.is_balanced = given == "balanced"
        self.values: Tensor | None = None
        if given is None or self.is_balanced:
            return
        numbers = [] if isinstance(given, str) else list(given)
        if not numbers or not all(isinstance(number, int | float) and number >= 0 for number in numbers):
            raise ConfigError(
                f"model.class_weights={given!r}; expected balanced, or a number of at least 0 for each class."
            )
        self.values = torch.tensor(numbers, dtype=torch.float32)

    def look_at(self, datamodule: Any) -> None:
        """Take the labels of the training samples, where they say what the weights are.

        Raises:
            ConfigError: They are needed, and the datamodule does not tell them.
        """
        if not self.is_balanced:
            return
        labels = getattr(datamodule, "train_labels", None)
        if labels is None:
            raise ConfigError(
                "model.class_weights=balanced needs a datamodule that tells its `train_labels`; write a number for "
                "each class."
            )
        self.values = balanced_weights(torch.as_tensor(labels), int(datamodule.num_classes))

    def on(self, device: torch.device, num_classes: int) -> Tensor | None:
        """Return the weights on a device, shape (K,), or None where all classes count the same.

        Raises:
            ConfigError: There are more or fewer than classes, or the training labels have not been seen.
        """
        if self.values is None:
            if self.is_balanced:
                raise ConfigError("model.class_weights=balanced are known as soon as a run with data has begun.")
            return None
        if len(self.values) != num_classes:
            raise ConfigError(
                f"model.class_weights has {len(self.values)} numbers, and the model gives {num_classes} logits."
            )
        self.values = self.values.to(device, non_blocking=True)  # once
        return self.values
