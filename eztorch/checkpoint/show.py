"""`eztorch checkpoint show`: what is in a file of weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.engine.tables import columns

if TYPE_CHECKING:
    from eztorch.models.weights import WeightFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", type=Path, help="a checkpoint, a state dict, or a safetensors file")
    parser.add_argument("--names", action="store_true", help="list every weight with its shape")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.models.weights import read_weights

    file = read_weights(arguments.file, key="file")
    print(describe(file))
    if arguments.names:
        print(columns((name, f"{tuple(value.shape)} {value.dtype}") for name, value in file.tensors.items()))
    return 0


def describe(file: WeightFile) -> str:
    """Return whose weights a file has, what it says of itself, and the parts that weights begin with."""
    from eztorch.models.weights import origin

    parts: dict[str, list[str]] = {}
    for name in file.tensors:
        parts.setdefault(name.partition(".")[0], []).append(name)
    rows = [("part", "weights, numbers, first name")]
    for part, names in parts.items():
        numbers = sum(file.tensors[name].numel() for name in names)
        rows.append((part, f"{len(names)}, {numbers:,}, {names[0]} {tuple(file.tensors[names[0]].shape)}"))
    facts = [("names of", origin(file.tensors)), ("stand under", file.container), *file.facts.items()]
    return f"{file.path}\n{columns((what, value) for what, value in facts if value)}\n\n{columns(rows)}"
