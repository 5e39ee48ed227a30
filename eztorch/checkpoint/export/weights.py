"""Weights alone: safetensors, or what torch saves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from eztorch.checkpoint.export.source import Comparison, Source, compare_outputs
from eztorch.models.weights import load_tensors, read_weights
from eztorch.utils.config import build
from eztorch.utils.files import write_tensors


def export_weights(source: Source, out: Path, shape: Sequence[int] | None) -> Comparison:
    """Write the weights, read them again and compare them with the source.

    Args:
        source: What is exported.
        out: File to write.
        shape: Shape of an input, to compare what the trunk computes; None compares the weights.

    Raises:
        ConfigError: A shape is given, and the trunk cannot be built.
    """
    network = None if shape is None else source.network()
    tensors = {name: value.detach().contiguous().clone() for name, value in source.tensors.items()}
    if out.suffix.lower() == ".safetensors":
        write_tensors(out, tensors, {"format": "pt", **source.facts})
    else:
        torch.save({"state_dict": tensors, **source.facts}, out)
    written = read_weights(out, key="out").tensors
    if network is not None and shape is not None:
        again: nn.Module = build(source.spec)
        load_tensors(again, written, str(out))
        return compare_outputs(network, again.eval(), 2, shape)
    pairs = [(written[name].double(), value.double()) for name, value in tensors.items()]
    difference = max(float((one - other).abs().max()) for one, other in pairs if other.numel())
    scale = max(float(value.abs().max()) for _, value in pairs if value.numel())
    return Comparison(f"{len(pairs)} weights, read again", difference, scale)
