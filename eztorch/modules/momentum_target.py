"""The target branch of siamese methods with momentum."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import Tensor, nn

from eztorch.modules.ema import ema_update


class MomentumTarget(nn.Module):
    """Frozen copy of a trunk and a projector whose parameters follow those of the online branch.

    Only parameters are averaged. Buffers belong to the copy: it stays in training mode with the model, so its batch
    normalisations use the statistics of the target's own batches, and its running ones come from these, as in MoCo
    (https://arxiv.org/abs/1911.05722, section 3.2).

    Args:
        trunk: Online trunk, from an input to features (B, C).
        projector: Online projector, from features to projections (B, D); None uses the features as they are.
    """

    def __init__(self, trunk: nn.Module, projector: nn.Module | None = None) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(trunk)
        self.projector = copy.deepcopy(projector)
        self.requires_grad_()

    def requires_grad_(self, requires_grad: bool = True) -> MomentumTarget:
        """Keep the parameters frozen, whatever is asked for: they follow, they do not learn."""
        super().requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> MomentumTarget:
        """Change the mode; the parameters are frozen again, in case the model around them was unfrozen as a whole."""
        super().train(mode)
        return self.requires_grad_()

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch without gradients.

        Args:
            x: Input of the trunk, shape (B, ...).

        Returns:
            Features h, shape (B, C), and projections z, shape (B, D); z is h when there is no projector.
        """
        h = self.trunk(x)
        return h, h if self.projector is None else self.projector(h)

    def update(self, trunk: nn.Module, projector: nn.Module | None, momentum: float) -> None:
        """Move the parameters towards those of the online branch; to be called once an optimizer step.

        Args:
            trunk: Online trunk.
            projector: Online projector, None if the target has none.
            momentum: Share of the target that stays, in [0, 1].
        """
        online = trunk.parameters() if projector is None else chain(trunk.parameters(), projector.parameters())
        ema_update(self.parameters(), online, momentum)
