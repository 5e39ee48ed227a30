"""The commands of `eztorch data` by name. Nothing here imports torch: a command does so once it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from eztorch.engine.arguments import unknown_flag
from eztorch.engine.help import columns
from eztorch.engine.launch import report_error
from eztorch.utils.errors import ConfigError, EztorchError
from eztorch.utils.names import nearest

SUMMARY = "Look at, check, convert and split data, before and around training."


@dataclass(frozen=True)
class Command:
    """What `eztorch data NAME` does.

    Its module, `eztorch.data.NAME`, has `add_arguments(parser)` and `run(arguments)`, which returns the exit status,
    and imports torch, numpy and PyAV in functions alone, so that `--help` answers at once.

    Attributes:
        name: Name on the command line.
        summary: One line for the help.
        examples: Commands that work as they stand, apart from the folders in them.
    """

    name: str
    summary: str
    examples: tuple[str, ...]

    def module(self) -> Any:
        """Import its module."""
        return importlib.import_module(f"eztorch.data.{self.name}")

    def parser(self) -> Parser:
        """Return the parser of its arguments."""
        parser = Parser(
            prog=f"eztorch data {self.name}",
            description=self.summary,
            epilog="Examples:\n" + "\n".join(f"  {example}" for example in self.examples),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.module().add_arguments(parser)
        return parser


_COMMANDS: tuple[Command, ...] = (
    Command(
        "index",
        "Probe every file of a folder once: duration, frame rate, frames, size, codec, status. Datamodules read it.",
        (
            "eztorch data index /data/kinetics200",
            "eztorch data index /data/ucf101_frames --kind frames --workers 16",
        ),
    ),
    Command(
        "check",
        "Examine data before a run does: broken, empty, doubled, leaking, mislabelled; deletes nothing.",
        (
            "eztorch data check /data/mine",
            "eztorch data check train=/data/train.csv val=/data/val.csv --prefix /data/videos --num-classes 101",
            "eztorch data check -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --quick",
            "eztorch data check /data/mine --decode --ignore unlisted --write-annotation",
        ),
    ),
    Command(
        "split",
        "Write annotation files from a folder or official lists, clips of one source on one side only.",
        (
            "eztorch data split /data/mine -o /data/mine_lists --ratios 0.8 0.1 0.1",
            "eztorch data split /data/mine -o /data/mine_lists --folds 5 --group '(subject[0-9]+)_'",
            "eztorch data split /data/ucf101_frames -o /data/lists --official ucf101 --lists /data/ucfTrainTestlist",
            "eztorch data split /data/kinetics200/train -o /data/lists --all train",
        ),
    ),
    Command(
        "prepare",
        "Make videos small and fast to read, or extract their frames; resize pictures.",
        (
            "eztorch data prepare /data/kinetics /data/kinetics256 --measure",
            "eztorch data prepare /data/kinetics /data/kinetics256 --dry-run",
            "eztorch data prepare /data/ucf101 /data/ucf101_frames --to frames --fps 25",
            "eztorch data prepare /data/imagenet /data/imagenet256 --workers 16",
            "srun -N1 -n8 eztorch data prepare /data/kinetics /data/kinetics256 --to intra --workers 4",
        ),
    ),
    Command(
        "show",
        "Draw a contact sheet or GIF of what an experiment reads: views, labels, clip times.",
        (
            "eztorch data show -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 -o views.png",
            "eztorch data show -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --device-transform",
            "eztorch data show -cn supervised_r3d18_kinetics200 dir.data=/data/kinetics200 --split val -o val.gif",
            "eztorch data show /data/kinetics200/train --samples 20",
        ),
    ),
    Command(
        "bench",
        "Measure how fast data can be read with each decoder, and what would make it faster.",
        (
            "eztorch data bench /data/kinetics/val",
            "eztorch data bench /data/kinetics/val --frames 32 --clips 2 --feed 500 --json bench.json",
            "eztorch data bench -cn pretrain_r3d18_SCE_kinetics200 dir.data=/data/kinetics200 --split train",
        ),
    ),
)
COMMANDS: dict[str, Command] = {command.name: command for command in _COMMANDS}


def main(argv: Sequence[str]) -> int:
    """Run a command.

    Args:
        argv: What stands behind `eztorch data`.

    Returns:
        Exit status: 0 done, 1 done with findings or files that failed (they are listed), 2 the command line or the data
        cannot be used (the reason is on standard error), 130 interrupted from the keyboard.
    """
    name, words = (argv[0], argv[1:]) if argv else ("--help", [])
    if name in ("-h", "--help"):
        print(overview())
        return 0
    program = f"eztorch data {name}" if name in COMMANDS else "eztorch data"
    try:
        command = _find(name)
        arguments = command.parser().parse_words(words)
        if arguments is None:
            return 0
        status: int = command.module().run(arguments)
    except EztorchError as error:
        return report_error(error, program)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; what is done is kept.", file=sys.stderr)
        return 130
    return status


def overview() -> str:
    """Return the help of `eztorch data`: its commands and an example of each."""
    examples = "\n".join(f"  {command.examples[0]}" for command in COMMANDS.values())
    return f"""\
{SUMMARY}

Usage: eztorch data COMMAND ...

Commands:
{columns((command.name, command.summary) for command in COMMANDS.values())}

Examples:
{examples}

eztorch data COMMAND --help lists the arguments of a command."""


def _find(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if name.startswith("-"):
        raise ConfigError(f"the command comes first: eztorch data COMMAND {name} ..., of {', '.join(COMMANDS)}.")
    close = nearest(name, COMMANDS)
    hint = f" Did you mean {close!r}?" if close else ""
    raise ConfigError(f"there is no command {name!r}.{hint} Commands: {', '.join(COMMANDS)}.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help in the form of that of the tasks."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=120)

    def start_section(self, heading: str | None) -> None:
        super().start_section(heading and heading.capitalize())

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours."""

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace | None:
        """Return the arguments, flags and others in any order; None when only the help was asked for.

        Raises:
            ConfigError: They cannot be used.
        """
        if "-h" in words or "--help" in words:
            self.print_help()
            return None
        arguments, others = self.parse_known_intermixed_args(list(words))
        for word in others:
            if word.startswith("-"):
                raise unknown_flag(word.partition("=")[0], list(self._option_string_actions))
            raise ConfigError(f"{word!r} is one argument too many. {self.format_usage().strip()}")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raise the error of a command line that cannot be used."""
        raise ConfigError(f"{message.removeprefix('argument ')}. --help lists the arguments.")
