"""`eztorch predictions score`: measures of a file of predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from eztorch.predictions.arguments import add_measures, measure_options, value_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("file", type=Path, help="a file of predictions, *.safetensors")
    add_measures(parser)
    parser.add_argument("--classes", type=Path, help="write what there is to say of each class to this csv file")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from eztorch.evaluation.measure import measure, write_class_table
    from eztorch.evaluation.predictions import Predictions

    predictions = Predictions.load(arguments.file)
    values = measure(predictions, arguments.metric, measure_options(arguments, predictions))
    print(value_table({arguments.file.stem: values}))
    evaluated, expected = (predictions.protocol.get(key) for key in ("n_evaluated", "n_expected"))
    if expected is not None:
        print(f"\n{evaluated} of {expected} videos were evaluated.")
    if arguments.classes is not None:
        write_class_table(predictions, arguments.classes)
        print(f"Classes: {arguments.classes}")
    return 0
