"""The experiments: which ones there are, what the comment at the top of each says, and which one a command means."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from eztorch.engine.arguments import Arguments
from eztorch.engine.finished_run import KEY
from eztorch.engine.tasks import TASKS
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import nearest


@dataclass(frozen=True)
class Experiment:
    """A recipe in a folder of recipes.

    Attributes:
        name: What `-cn` takes.
        summary: First line of the comment at its top; empty without one.
        tasks: Tasks whose command stands in that comment; none stands for every task.
    """

    name: str
    summary: str
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """Where an experiment stands.

    Attributes:
        folder: Folder of the file.
        name: Name of the file without `.yaml`.
        search: Further folders of configuration groups.
    """

    folder: Path
    name: str
    search: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / f"{self.name}.yaml"


def experiments_dir() -> Path:
    """Return the folder of the shipped experiments: `eztorch/experiments` of a wheel, `configs` of a checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "experiments"
    return shipped if shipped.is_dir() else package.parent / "configs"


def list_experiments(folder: Path | None = None, *, task: str | None = None) -> list[Experiment]:
    """Return the experiments of a folder by name.

    Args:
        folder: A folder of YAML files; None stands for the shipped experiments.
        task: Leave out the experiments whose comment gives the command of other tasks only; all stay when none is left.
    """
    files = sorted((experiments_dir() if folder is None else folder).glob("*.yaml"))
    found = [_read(path) for path in files]
    return [one for one in found if not one.tasks or task in one.tasks] or found if task is not None else found


def _read(path: Path) -> Experiment:
    comment: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            if "@package" not in line:
                comment.append(line.lstrip("#").strip())
    text = "\n".join(comment)
    tasks = tuple(name for name in TASKS if re.search(rf"\brun/{name}\.py\b|\beztorch {name}\b", text))
    return Experiment(path.stem, comment[0] if comment else "", tasks)


def _how_to_name(arguments: Arguments, task: str) -> str:
    """Say how an experiment is named; of a task that evaluates, a checkpoint names one too."""
    if task not in TASKS or not TASKS[task].evaluates:
        return "write -cn NAME"
    keys = [line.partition("=")[0] for line in arguments.overrides]
    hint = next((f" (is {key}= meant to be that?)" for key in keys if nearest(key, [KEY])), "")
    return f"write {KEY}=FILE for the run that wrote the file{hint}, or -cn NAME"


def find_recipe(arguments: Arguments, task: str, *, script: str | None = None) -> Recipe:
    """Find the experiment of a command line.

    Folders are looked up in the working directory first, then beside the script. The experiment is looked up in `-cp`,
    then among those that eztorch ships.

    Args:
        arguments: The command line.
        task: Name of the task, for the message.
        script: The script that was called, None for the installed command.

    Raises:
        ConfigError: A folder does not exist, no experiment is named or there is none of that name.
    """
    own = None if arguments.config_path is None else _find_folder(arguments.config_path, "-cp", script)
    search = () if arguments.config_dir is None else (_find_folder(arguments.config_dir, "-cd", script),)
    shipped = experiments_dir()
    if arguments.config_name is None:
        names = ", ".join(one.name for one in list_experiments(own, task=task))
        where = f"{own} has" if own else "eztorch ships"
        raise ConfigError(
            f"no experiment is named: {_how_to_name(arguments, task)}. For {task} {where}: {names or 'none'}. "
            "Experiments of your own are found with -cp FOLDER."
        )
    name = re.sub(r"\.ya?ml$", "", arguments.config_name)
    for folder in [shipped] if own is None else [own, shipped]:
        path = folder / f"{name}.yaml"
        if path.is_file():
            # Groups are found from -cp also when the file stands in a folder below it, or among the shipped ones.
            groups = dict.fromkeys([*search, *([] if own is None else [own]), folder])
            return Recipe(path.parent, path.stem, tuple(place for place in groups if place != path.parent))
    raise ConfigError(_no_experiment(name, own))


def import_from_working_directory() -> None:
    """Let a `_target_` name a module of the working directory, however the program was called."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _find_folder(text: str, flag: str, script: str | None) -> Path:
    bases = [Path.cwd()] if script is None else [Path.cwd(), Path(script).absolute().parent]
    places = list(dict.fromkeys(base / Path(text).expanduser() for base in bases))
    for place in places:
        if place.is_dir():
            return place.resolve()
    raise ConfigError(f"{flag} {text}: there is no such folder; looked for {' and '.join(map(str, places))}.")


def _no_experiment(name: str, own: Path | None) -> str:
    mine = [] if own is None else [one.name for one in list_experiments(own)]
    shipped = [one.name for one in list_experiments()]
    close = nearest(name, [*mine, *shipped])
    hint = f" Did you mean {close}?" if close else ""
    places = f"In {own} are: {', '.join(mine) or 'none'}. " if own is not None else ""
    return f"-cn {name}: there is no such experiment.{hint} {places}eztorch ships: {', '.join(shipped) or 'none'}."
