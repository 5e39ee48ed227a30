"""The gradient cache under mixed precision; that it changes nothing but memory is in test_ranks.py."""

from __future__ import annotations

from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Gradients(Callback):
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.values = [None if p.grad is None else p.grad.clone() for p in pl_module.learnable_params]


@pytest.mark.parametrize("name", ["simclr", "sce", "dino"])
def test_gradient_cache__keeps_the_gradients_of_mixed_precision(fit, tiny, name):
    found = []
    for size in (None, 3):
        gradients = Gradients()
        model = methods.make(name, gradient_cache_size=size)
        data = tiny.Views(8, ((3, 4, 4), (3, 4, 4)))
        fit(model, data=data, batch_size=8, precision="bf16-mixed", callbacks=[gradients])
        found.append(gradients.values)
    for cached, expected in zip(found[1], found[0], strict=True):
        assert cached is not None
        # Sums over the parts are rounded to bfloat16 once each.
        assert torch.linalg.norm(cached - expected) <= 0.05 * torch.linalg.norm(expected)
