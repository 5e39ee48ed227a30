"""The console command: `eztorch TASK -cn EXPERIMENT key=value ...`, `eztorch data COMMAND ...`, `eztorch compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import eztorch
from eztorch.checkpoint.commands import CHECKPOINT
from eztorch.compare.commands import COMPARE
from eztorch.data.commands import DATA
from eztorch.engine.arguments import FLAGS, unknown_flag
from eztorch.engine.help import overview
from eztorch.engine.launch import main as launch
from eztorch.engine.launch import print_any_name, report_error
from eztorch.engine.tasks import TASKS
from eztorch.predictions.commands import PREDICTIONS
from eztorch.utils.errors import ConfigError, EztorchError
from eztorch.utils.names import did_you_mean

_COMMANDS = {command.name: command for command in (DATA, CHECKPOINT, COMPARE, PREDICTIONS)}

_BROKEN_PIPE = 141  # the status of a command that such a signal ends


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The words behind `eztorch`; None takes them from `sys.argv`.

    Returns:
        Exit status; see `eztorch.engine.launch.main`.
    """
    print_any_name()
    try:
        status = _answer(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has no reader when Python ends
        return _BROKEN_PIPE
    return status


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview(commands={name: command.summary for name, command in _COMMANDS.items()}))
        return 0
    if words[0] == "--version":
        print(eztorch.__version__)
        return 0
    if words[0] in _COMMANDS:
        return _COMMANDS[words[0]].main(words[1:])
    try:
        _check_task(words[0])
    except EztorchError as error:
        return report_error(error, "eztorch")
    return launch(words[0], words[1:])


def _check_task(word: str) -> None:
    if word in TASKS:
        return
    names = [*TASKS, *_COMMANDS]
    tasks = ", ".join(names)
    if any(word.partition("=")[0] in flag.names for flag in FLAGS):
        raise ConfigError(f"the task comes first: eztorch TASK {word} ..., where TASK is one of {tasks}.")
    if word.startswith("-"):
        raise unknown_flag(word, ["--help", "--version"])
    raise ConfigError(f"there is no task {word!r}.{did_you_mean(word, names)} Tasks: {tasks}.")
