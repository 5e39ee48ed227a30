"""`eztorch checkpoint export`: a trunk out of a checkpoint, compared with what it came from."""

from __future__ import annotations

import argparse
from pathlib import Path

from eztorch.data.arguments import experiment_of, whole_number
from eztorch.utils.errors import ConfigError

SUFFIXES = (".safetensors", ".pth", ".onnx", ".pt2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        f"{parser.description}\n\n"
        "The end of the name OUT says what is written: .safetensors and .pth the weights alone, .onnx a model for\n"
        "ONNX (needs eztorch[onnx]), .pt2 a program of torch.export. What was written is read again and compared with\n"
        "the trunk in PyTorch: the weights, and with --input what it computes."
    )
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, a state dict, or a safetensors file")
    parser.add_argument("out", type=Path, help=f"file to write, ending in {', '.join(SUFFIXES)}")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="with -cn, overrides of the configuration of the experiment"
    )
    parser.add_argument(
        "-cn", "--config-name", metavar="EXPERIMENT", help="experiment that has the trunk (default: the checkpoint's)"
    )
    parser.add_argument("-cp", "--config-path", metavar="DIR", help="folder of the experiment")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="one more folder of configuration groups")
    parser.add_argument("--pattern", help="regular expression of what the trunk's names begin with (default: found)")
    parser.add_argument(
        "--input", type=whole_number(1), nargs="+", metavar="N", help="shape of an input: 3 224 224, or 3 8 112 112"
    )
    parser.add_argument(
        "--batch", type=whole_number(1), metavar="N", help="fixed size of the batch of .onnx and .pt2 (default: any)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; what was written and differs from its source gives the exit status 1."""
    suffix = arguments.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"out={arguments.out}: the name must end in {', '.join(SUFFIXES)}.")
    if arguments.overrides and arguments.config_name is None:
        raise ConfigError(f"{arguments.overrides[0]!r} is an override of an experiment: give -cn EXPERIMENT.")
    if arguments.out.exists() and arguments.checkpoint.exists() and arguments.out.samefile(arguments.checkpoint):
        raise ConfigError(f"out={arguments.out} is the checkpoint itself.")

    from eztorch.checkpoint.export.graphs import export_graph
    from eztorch.checkpoint.export.source import load_source
    from eztorch.checkpoint.export.weights import export_weights

    experiment = experiment_of(arguments, arguments.overrides) if arguments.config_name is not None else None
    source = load_source(arguments.checkpoint, experiment=experiment, pattern=arguments.pattern)
    print(source.said)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if suffix in (".onnx", ".pt2"):
        comparison = export_graph(source, arguments.out, arguments.input, arguments.batch)
    else:
        comparison = export_weights(source, arguments.out, arguments.input)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB. {comparison}")
    return 0 if comparison.is_equal else 1
