"""Arguments that several commands take, and what their values may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from fractions import Fraction

from eztorch.engine.arguments import Arguments


def add_experiment_arguments(parser: argparse.ArgumentParser, purpose: str, *, split: bool = True) -> None:
    """Add `-cn`, `-cp`, `-cd` and, unless all splits are meant, `--split` to the arguments of a command."""
    parser.add_argument("-cn", "--config-name", metavar="EXPERIMENT", help=purpose)
    parser.add_argument("-cp", "--config-path", metavar="DIR", help="folder of the experiment")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="one more folder of configuration groups")
    if split:
        parser.add_argument(
            "--split",
            choices=("train", "val", "test"),
            default="train",
            help="which split of it (default: %(default)s)",
        )


def experiment_of(arguments: argparse.Namespace, overrides: Sequence[str]) -> Arguments:
    """Return the experiment that a command line names."""
    return Arguments(
        tuple(overrides),
        config_name=arguments.config_name,
        config_path=arguments.config_path,
        config_dir=arguments.config_dir,
    )


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number within bounds."""
    bounds = f"from {low}" if high is None else f"from {low} to {high}"

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < low or (high is not None and int(text) > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {bounds}")
        return int(text)

    return number


def above_zero(text: str) -> Fraction:
    """Read a positive number.

    >>> above_zero("2.56"), above_zero("30000/1001")
    (Fraction(64, 25), Fraction(30000, 1001))
    """
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, such as 30, 2.5 or 30000/1001")
    return number
