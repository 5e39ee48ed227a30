"""What is exported: the weights of a trunk, and the trunk itself where its description is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import eztorch
from eztorch.engine.arguments import Arguments
from eztorch.engine.experiments import import_from_working_directory
from eztorch.engine.networks import experiment_network, run_network
from eztorch.models.weights import load_tensors, origin, read_weights
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

# What the names of the network begin with in checkpoints of trainers; the first that there is.
_TRUNKS = ("trunk.", "backbone.", "model.")
# Sums of floats in another order, over a deep network.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        tensors: Weights by name, as the trunk has them.
        spec: Description of the trunk; None where it is not known.
        facts: What is known of the checkpoint, for the metadata.
        said: What was found, for the terminal.
    """

    tensors: dict[str, Tensor]
    spec: dict[str, Any] | None
    said: str
    facts: dict[str, str] = field(default_factory=dict)

    def network(self) -> nn.Module:
        """Build the trunk with its weights, in evaluation.

        Raises:
            ConfigError: Its description is not known.
        """
        if self.spec is None:
            raise ConfigError(
                "the checkpoint is of no run directory (none with a config.yaml is above it), so its trunk cannot be "
                "built. Give the experiment that has it: -cn EXPERIMENT, with -cp FOLDER for one of your own."
            )
        module: nn.Module = build(self.spec)
        module.load_state_dict(self.tensors)
        return module.eval()


@dataclass(frozen=True)
class Comparison:
    """What was written beside its source.

    Attributes:
        what: What was compared.
        difference: The largest absolute difference.
        scale: The largest absolute value of the source.
    """

    what: str
    difference: float
    scale: float

    @property
    def is_equal(self) -> bool:
        """Whether the difference is one of rounding; a difference that is no number is not."""
        return self.difference <= _TOLERANCE * max(self.scale, 1e-6)

    def __str__(self) -> str:
        """Return the figures."""
        verdict = (
            "" if self.is_equal else f" This is no rounding (tolerance {_TOLERANCE:g} of the values): do not use it."
        )
        return f"{self.what}: largest difference {self.difference:.2g}, values up to {self.scale:.3g}.{verdict}"


def load_source(checkpoint: Path, *, experiment: Arguments | None, pattern: str | None) -> Source:
    """Read a checkpoint and take its trunk.

    Args:
        checkpoint: The file.
        experiment: The experiment that has the trunk; None for the run that wrote the checkpoint.
        pattern: What the names of the trunk begin with in the file; None finds out.

    Raises:
        ConfigError: The file cannot be read, or its weights are not those of the trunk.
    """
    file = read_weights(checkpoint, key="checkpoint")
    label = f"{file.path} ({origin(file.tensors)})"
    facts = {"eztorch_version": eztorch.__version__, "source": file.path.name}
    facts |= {name: file.facts[name] for name in ("epoch", "global_step") if name in file.facts}
    spec = run_network(checkpoint) if experiment is None else experiment_network(experiment)
    if spec is None:
        tensors, begins = _taken(file.tensors, pattern)
        said = f"Weights from {label}: {len(tensors)} of {len(file.tensors)}, those under {begins!r}; the names stay."
        return Source(tensors, None, said, facts)
    import_from_working_directory()
    module: nn.Module = build(spec)
    report = load_tensors(module, file.tensors, label, pattern=pattern)
    return Source(module.state_dict(), spec, str(report), {**facts, "trunk": json.dumps(spec, default=str)})


def compare_outputs(
    network: nn.Module, other: Callable[[Tensor], Tensor], batch: int, shape: Sequence[int]
) -> Comparison:
    """Compare what two networks give for random inputs.

    Args:
        network: The source.
        other: What was written and read again.
        batch: Number of inputs.
        shape: Shape of one.
    """
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = network(x), other(x)
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else float("nan")
    what = f"Outputs {tuple(found.shape)} of {batch} random inputs {tuple(shape)}"
    return Comparison(what, difference, float(expected.abs().max()))


def _taken(tensors: dict[str, Tensor], pattern: str | None) -> tuple[dict[str, Tensor], str]:
    """Return the weights of a trunk whose description is not known, and what their names began with."""
    if pattern is None:
        begins = next((prefix for prefix in _TRUNKS if any(name.startswith(prefix) for name in tensors)), "")
        return {name[len(begins) :]: value for name, value in tensors.items() if name.startswith(begins)}, begins
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--pattern {pattern!r} is no regular expression: {error}.") from error
    found = {name[match.end() :]: value for name, value in tensors.items() if (match := compiled.match(name))}
    if not found:
        parts = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}." for name in tensors))
        raise ConfigError(f"--pattern {pattern!r} matches no name; they begin with {parts}")
    return found, pattern
