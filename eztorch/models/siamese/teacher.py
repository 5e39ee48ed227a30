"""The frozen network that a distillation learns from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from eztorch.models.weights import read_weights
from eztorch.utils.errors import ConfigError


class Teacher(nn.Module):
    """A network that never learns: no gradients, statistics and dropout as in evaluation.

    Args:
        network: From an input to features.
        weights: Checkpoint, of a run or a plain state dict, that its weights are read from; None leaves it as it is.
        prefix: What the names of these weights begin with in the checkpoint: `trunk.` in one of pretraining.

    Raises:
        ConfigError: There is no such file, or its weights are not those of the network.
    """

    def __init__(self, network: nn.Module, weights: str | None = None, prefix: str = "trunk.") -> None:
        super().__init__()
        self.network = network
        if weights is not None:
            _load(network, Path(weights), prefix)
        self.requires_grad_()

    def requires_grad_(self, requires_grad: bool = True) -> Teacher:
        """Keep the parameters frozen, whatever is asked for."""
        super().requires_grad_(False)
        return self

    def train(self, mode: bool = True) -> Teacher:
        """Change the mode, of no matter for the features; the parameters are frozen again."""
        super().train(mode)
        return self.requires_grad_()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the features of a batch."""
        if self.network.training:  # here and not before: a trainer warns of what is in evaluation when it starts
            self.network.eval()
        features: Tensor = self.network(x)
        return features


def _load(network: nn.Module, path: Path, prefix: str) -> None:
    key = f"model.teacher_weights={path}"
    state = read_weights(path, key="model.teacher_weights").tensors
    chosen = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if not chosen:
        parts = ", ".join(sorted({f"{name.split('.')[0]}." for name in state}))
        raise ConfigError(f"{key}: no weights begin with model.teacher_prefix={prefix!r}; there are {parts}.")
    try:
        missing, unexpected = network.load_state_dict(chosen, strict=False)
    except RuntimeError as error:  # other shapes; torch names all of them
        raise ConfigError(f"{key} has weights of another model.teacher: {error}") from error
    for what, names in (("lacks", missing), ("has too many", unexpected)):
        if names:
            raise ConfigError(f"{key} {what} weights for model.teacher: {', '.join(names[:3])} ({len(names)} in all).")
