"""What `--help` prints: for the program, and for a task. Reads the headers of the experiments and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import eztorch
from eztorch.engine.arguments import FLAGS
from eztorch.engine.experiments import list_experiments
from eztorch.engine.tables import columns
from eztorch.engine.tasks import TASKS, Task


def overview(commands: Mapping[str, str]) -> str:
    """Return the help of the program: its tasks, an example of each, and what there is beside them.

    Args:
        commands: Name and summary of each command, or group of commands, beside the tasks.
    """
    return f"""\
eztorch {eztorch.__version__}: self-supervised and supervised learning on video and images.

Usage: eztorch TASK -cn EXPERIMENT [key=value ...]

Tasks:
{columns((task.name, task.summary) for task in TASKS.values())}

Other commands:
{columns(commands.items())}

Examples:
{_lines(task.examples[0] for task in TASKS.values())}

eztorch TASK --help lists the flags and the experiments of a task, eztorch {"|".join(commands)} --help what they do
and take; eztorch --version prints the version."""


def task_help(task: Task) -> str:
    """Return the help of a task: its flags, the shipped experiments, examples."""
    flags = ((", ".join(flag.names) + (f" {flag.value}" if flag.value else ""), flag.help) for flag in FLAGS)
    experiments = [(one.name, one.summary) for one in list_experiments(task=task.name)]
    return f"""\
{task.summary}

Usage: eztorch {task.name} -cn EXPERIMENT [flags] [key=value ...]

Flags:
{columns(flags)}

Overrides change the configuration of the experiment, in Hydra's grammar:
{columns(_OVERRIDES)}

Experiments that eztorch ships:
{columns(experiments) or "  none"}

Examples:
{_lines(task.examples)}"""


_OVERRIDES = (
    ("key=value", "another value"),
    ("group=name", "another file of a group, for example model/optimizer=adamw"),
    ("+key=value", "a new key (++key=value: new or not)"),
    ("~key", "without this key"),
)


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(f"  {text}" for text in texts)
