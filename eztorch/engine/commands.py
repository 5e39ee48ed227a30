"""Commands beside the tasks, alone (`eztorch compare`) or in groups (`eztorch data`).

Nothing here imports torch: a command does so itself.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from eztorch.engine.arguments import unknown_flag
from eztorch.engine.launch import report_error
from eztorch.engine.tables import columns
from eztorch.utils.errors import ConfigError, EztorchError
from eztorch.utils.names import did_you_mean


@dataclass(frozen=True)
class Command:
    """What `eztorch GROUP NAME` does, or `eztorch NAME` where it belongs to no group.

    Its module, `eztorch.GROUP.NAME` or `eztorch.NAME`, has `add_arguments(parser)` and `run(arguments)`, which returns
    the exit status, and imports torch, numpy and PyAV in functions alone, so that `--help` answers at once.

    Attributes:
        group: Name of its group, empty for none.
        name: Name on the command line.
        summary: One line for the help.
        examples: Commands that work as they stand, apart from the folders in them.
    """

    group: str
    name: str
    summary: str
    examples: tuple[str, ...]

    @property
    def program(self) -> str:
        """How a person starts it."""
        return " ".join(filter(None, ("eztorch", self.group, self.name)))

    def module(self) -> Any:
        """Import its module."""
        return importlib.import_module(self.program.replace(" ", "."))

    def parser(self) -> Parser:
        """Return the parser of its arguments."""
        parser = Parser(
            prog=self.program,
            description=self.summary,
            epilog="Examples:\n" + "\n".join(f"  {example}" for example in self.examples),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.module().add_arguments(parser)
        return parser

    def main(self, argv: Sequence[str]) -> int:
        """Run the command.

        Args:
            argv: What stands behind its name.

        Returns:
            Exit status: 0 done, 1 done with findings or files that failed (they are listed), 2 the command line or the
            data cannot be used (the reason is on standard error), 130 interrupted from the keyboard.
        """
        try:
            arguments = self.parser().parse_words(argv)
            if arguments is None:
                return 0
            status: int = self.module().run(arguments)
        except EztorchError as error:
            return report_error(error, self.program)
        except KeyboardInterrupt:
            print(f"{self.program}: interrupted; what is done is kept.", file=sys.stderr)
            return 130
        return status


class CommandGroup:
    """Commands that belong together: `eztorch NAME COMMAND ...`.

    Attributes:
        name: Name on the command line.
        summary: One line for the help.
        commands: The commands by name.

    Args:
        name: See above.
        summary: See above.
        commands: The commands, in the order of the help.
    """

    def __init__(self, name: str, summary: str, commands: Sequence[Command]) -> None:
        self.name, self.summary = name, summary
        self.commands: dict[str, Command] = {command.name: command for command in commands}

    def main(self, argv: Sequence[str]) -> int:
        """Run a command.

        Args:
            argv: What stands behind the name of the group.

        Returns:
            Exit status, see `Command.main`.
        """
        name, words = (argv[0], argv[1:]) if argv else ("--help", [])
        if name in ("-h", "--help"):
            print(self.overview())
            return 0
        try:
            command = self._find(name)
        except EztorchError as error:
            return report_error(error, f"eztorch {self.name}")
        return command.main(words)

    def overview(self) -> str:
        """Return the help of the group: its commands and an example of each."""
        commands = self.commands.values()
        examples = "\n".join(f"  {command.examples[0]}" for command in commands)
        return f"""\
{self.summary}

Usage: eztorch {self.name} COMMAND ...

Commands:
{columns((command.name, command.summary) for command in commands)}

Examples:
{examples}

eztorch {self.name} COMMAND --help lists the arguments of a command."""

    def _find(self, name: str) -> Command:
        if name in self.commands:
            return self.commands[name]
        names = ", ".join(self.commands)
        if name.startswith("-"):
            raise ConfigError(f"the command comes first: eztorch {self.name} COMMAND {name} ..., of {names}.")
        raise ConfigError(f"there is no command {name!r}.{did_you_mean(name, self.commands)} Commands: {names}.")


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
