"""Sharing the files of a command out to several machines or SLURM tasks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from eztorch.engine.environment import slurm_tasks

T = TypeVar("T")


class Shard(NamedTuple):
    """A share of the files: every `total`-th of them.

    Attributes:
        number: Which share, from 1.
        total: How many there are.
    """

    number: int = 1
    total: int = 1

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return the items of this share.

        >>> Shard(2, 3).of("abcdefg")
        'be'
        """
        return items[self.number - 1 :: self.total]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def add_shard_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--shard` to the arguments of a command."""
    parser.add_argument(
        "--shard",
        type=_parse,
        metavar="I/N",
        help="do the I-th of N shares of the files, from 1/N to N/N (default: all; under srun the share of this task)",
    )


def find_shard(asked: Shard | None) -> Shard:
    """Return the share that was asked for, or else that of this SLURM task.

    Raises:
        ConfigError: This SLURM job has several tasks, but `srun` did not start the command.
    """
    if asked is not None:
        return asked
    slurm = slurm_tasks()
    return Shard() if slurm is None else Shard(slurm.rank + 1, slurm.tasks)


def _parse(text: str) -> Shard:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, for example 1/4")
    return Shard(int(number), int(count))
