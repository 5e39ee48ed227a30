"""A trunk by itself, to be evaluated as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from eztorch.models.steps import apply_transform, build_transform, is_empty
from eztorch.utils.config import build


class TrunkModel(LightningModule):
    """A trunk that is not trained: weights of another library, an exported trunk, or random ones.

    Args:
        trunk: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to features, shape (B, D).
        val_transform: Module or spec, applied to a batch on the device.
        test_transform: The same for test.
    """

    def __init__(
        self, trunk: nn.Module | Mapping[str, Any], *, val_transform: Any = None, test_transform: Any = None
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = build(trunk)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        features: Tensor = self.trunk(x)
        return features

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, shape (B, D), of a batch; None for a batch of failures alone."""
        return self._evaluation_step(batch, self.val_transform)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, shape (B, D), of a batch; None for a batch of failures alone."""
        return self._evaluation_step(batch, self.test_transform)

    def _evaluation_step(self, batch: Mapping[str, Any], transform: Any) -> dict[str, Tensor] | None:
        return None if is_empty(batch) else {"h": self(apply_transform(transform, batch["input"]))}
