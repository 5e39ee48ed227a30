"""Trunks as programs that need nothing of eztorch: torch.export and ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.checkpoint.export.source import Comparison, Source, compare_outputs
from eztorch.utils.errors import ConfigError

_EXAMPLES = 2  # a batch of one would make the exporter take the size for a constant
_ONE_FILE = 2 * 10**9 - 10**8  # bytes that an ONNX file can have; larger weights stand in a file beside it


def export_graph(source: Source, out: Path, shape: Sequence[int] | None, batch: int | None) -> Comparison:
    """Write the trunk as a program, load it again, and compare what both compute.

    Args:
        source: What is exported.
        out: File to write, ending in `.pt2` or `.onnx`.
        shape: Shape of an input.
        batch: Number of inputs that the program is for; None for any.

    Raises:
        ConfigError: The shape is not given or does not suit the trunk, the trunk cannot be built or exported, or a
            package is missing.
    """
    if shape is None:
        raise ConfigError(f"{out.name} is made for one shape of inputs: give it, for example --input 3 8 112 112.")
    network = source.network()
    is_onnx = out.suffix.lower() == ".onnx"
    runtime = _import_onnx() if is_onnx else None
    program = _exported(network, shape, batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters' own
        if runtime is None:
            torch.export.save(program, out)
            written: Callable[[Tensor], Tensor] = torch.export.load(out).module()
        else:
            size = sum(value.numel() * value.element_size() for value in source.tensors.values())
            torch.onnx.export(
                program,
                (),
                out,
                input_names=["input"],
                output_names=["features"],
                dynamo=True,
                external_data=size > _ONE_FILE,
                verbose=False,
            )
            written = _session(runtime, out)
    # Another number of inputs than the program was made with shows that any will do.
    return compare_outputs(network, written, batch or _EXAMPLES + 1, shape)


def _exported(network: nn.Module, shape: Sequence[int], batch: int | None) -> Any:
    x = torch.zeros(batch or _EXAMPLES, *shape)
    try:
        with torch.no_grad():
            network(x)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ConfigError(f"--input {' '.join(map(str, shape))} does not suit the trunk: {error}") from error
    dynamic = None if batch is not None else ({0: torch.export.Dim("batch")},)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(network, (x,), dynamic_shapes=dynamic)
    except Exception as error:  # of many kinds, by what the network does
        reason = str(error).strip().splitlines()[0]
        hint = " A program for batches of one size asks for less: --batch N." if batch is None else ""
        raise ConfigError(f"torch.export cannot follow this trunk: {reason}{hint}") from error


def _import_onnx() -> Any:
    """Import what ONNX needs, before anything is computed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f".onnx needs the packages onnx, onnxscript and onnxruntime (pip install 'eztorch[onnx]'): {error}."
        ) from error
    return onnxruntime


def _session(runtime: Any, path: Path) -> Callable[[Tensor], Tensor]:
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])

    return run
