"""`eztorch predictions fuse`: late fusion of the predictions of several streams."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.predictions.arguments import add_measures, measure_options, value_table
from eztorch.utils.errors import ConfigError, DataError

if TYPE_CHECKING:
    from eztorch.evaluation.measure import MeasureOptions
    from eztorch.evaluation.predictions import Predictions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="two or more files of predictions")
    parser.add_argument("--weights", type=float, nargs="+", metavar="W", help="one a file; equal by default")
    parser.add_argument(
        "--of", choices=("probabilities", "logits"), default="probabilities", help="what is averaged (probabilities)"
    )
    parser.add_argument("--grid", action="store_true", help="try all weights in steps of 0.1, and take the best")
    parser.add_argument("-o", "--output", type=Path, help="write the fusion to this file, *.safetensors")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_measures(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.evaluation.fusion import fuse, match
    from eztorch.evaluation.measure import measure
    from eztorch.evaluation.predictions import Predictions

    if arguments.grid and arguments.weights is not None:
        raise ConfigError("--grid tries weights, and --weights says them; write one of the two.")
    if arguments.output is not None and arguments.output.exists() and not arguments.force:
        raise DataError(f"{arguments.output} is there already; --force replaces it.")
    names = _names(arguments.files)
    streams = match([Predictions.load(file) for file in arguments.files], names)
    options, weights, of = measure_options(arguments, streams[0]), arguments.weights, arguments.of
    if arguments.grid:
        weights = _best_weights(streams, of, arguments.metric, options)
    fusion = fuse(streams, weights, of=of, names=names)
    if arguments.grid:
        fusion = replace(fusion, protocol={**fusion.protocol, "weights_chosen_on": "these videos"})
    every = dict(zip([*names, "fusion"], [*streams, fusion], strict=True))
    print(value_table({name: measure(one, arguments.metric, options) for name, one in every.items()}))
    print(f"\nWeights: {', '.join(f'{share:.3g}' for share in fusion.protocol['weights'])}, of {of}.")
    if arguments.grid:
        print("They are the best for these very videos: for a figure to report, find them on a validation split.")
    if arguments.output is not None:
        fusion.save(arguments.output)
        print(f"Written: {arguments.output}")
    return 0


def _names(files: Sequence[Path]) -> list[str]:
    """Return what to call files: the last parts of their paths in which they differ.

    >>> _names([Path("/out/rgb/predictions/test.safetensors"), Path("/out/flow/predictions/test.safetensors")])
    ['rgb', 'flow']
    """
    parts = [file.absolute().with_suffix("").parts for file in files]
    for depth in range(1, min(map(len, parts)) + 1):
        names = [part[-depth] for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(file) for file in files]


def _best_weights(
    streams: Sequence[Predictions], of: str, names: Sequence[str] | None, options: MeasureOptions
) -> list[float]:
    """Return the weights with the best value of the first measure; of equal ones those nearest to equal weights."""
    from eztorch.evaluation.fusion import combine, weight_grid
    from eztorch.evaluation.measure import is_better, measure

    first = streams[0]
    name = names[0] if names else ("map" if first.multi_label else "acc_1")
    equal = 1 / len(streams)
    candidates = sorted(weight_grid(len(streams)), key=lambda one: sum((share - equal) ** 2 for share in one))
    best, best_value = candidates[0], None
    for candidate in candidates:
        scores = combine([one.scores for one in streams], candidate, of=of, multi_label=first.multi_label)
        value = measure(replace(first, scores=scores), [name], options).get(name)
        if value is not None and (best_value is None or is_better(name, value, best_value)):
            best, best_value = candidate, value
    print(f"The best of {len(candidates)} weights by {name}.\n")
    return list(best)
