"""Features for the losses, and the comparison with a slow reference."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Random directions of float64, whose gradient is asked for."""
    draws = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=draws, dtype=torch.float64), dim=-1).requires_grad_()


def agree(loss: Callable[..., Tensor], reference: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Compare values and the gradients of all inputs."""
    value, expected = loss(*inputs), reference(*inputs)
    torch.testing.assert_close(value, expected)
    gradients, references = (torch.autograd.grad(2.5 * x, inputs, allow_unused=True) for x in (value, expected))
    for gradient, wanted in zip(gradients, references, strict=True):
        assert (gradient is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(gradient, wanted)


@pytest.fixture
def slow() -> SimpleNamespace:
    return SimpleNamespace(unit=unit, agree=agree)
