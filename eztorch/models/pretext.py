"""What the methods share whose trunk learns from a task on one view: evaluation, transforms and the optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from typing_extensions import Required, TypedDict

from eztorch.models.steps import apply_transform, build_transform, configure_optimizer, is_empty
from eztorch.utils.config import build
from eztorch.utils.errors import DataError


class PretextKeys(TypedDict, total=False):
    """Keys that every such method takes; `PretextModel` says what they mean."""

    trunk: Required[Any]
    optimizer: Required[Any]
    train_transform: Any
    val_transform: Any
    test_transform: Any


class PretextModel(LightningModule, ABC):
    """A trunk, its transforms and its optimizer; a method is a final subclass with a task of its own.

    Args:
        trunk: Module or spec: from an input, shape (B, ...), to features h, shape (B, C).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        train_transform: Callable or spec, run on the device on the input of a training batch.
        val_transform: The same for a validation batch.
        test_transform: The same for a test batch.
    """

    called: ClassVar[str]  # what messages call the method

    def __init__(
        self,
        *,
        trunk: Any,
        optimizer: Any,
        train_transform: Any = None,
        val_transform: Any = None,
        test_transform: Any = None,
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = build(trunk)
        self.optimizer = optimizer
        self.train_transform = build_transform(train_transform)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)

    @abstractmethod
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss, the scalars, and features of each sample, shape (B, C), as h."""

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), of an input, shape (B, ...)."""
        features: Tensor = self.trunk(x)
        return features

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, shape (B, C), of a batch; None for an empty batch."""
        return self._evaluation_step(batch, self.val_transform)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, shape (B, C), of a batch; None for an empty batch."""
        return self._evaluation_step(batch, self.test_transform)

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its scheduler from the spec."""
        return configure_optimizer(self, self.optimizer)

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def one_view(self, inputs: Tensor | list[Tensor]) -> Tensor:
        """Return the one view of a batch, shape (B, ...).

        Args:
            inputs: The view, or a list of it.

        Raises:
            DataError: There are several.
        """
        views = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if len(views) != 1:
            raise DataError(f"The batch has {len(views)} views, and {self.called} takes one.")
        return views[0]

    def _evaluation_step(self, batch: Mapping[str, Any], transform: Any) -> dict[str, Tensor] | None:
        if is_empty(batch):
            return None
        return {"h": self(self.one_view(apply_transform(transform, batch["input"])))}
