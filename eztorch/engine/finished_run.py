"""`checkpoint=FILE` on the command line of a task that evaluates: the run that wrote a checkpoint is the experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from eztorch.engine.arguments import Arguments
from eztorch.engine.resume import find_checkpoint
from eztorch.utils.errors import ConfigError

KEY = "checkpoint"
_LEVELS = 3  # a run directory is so many folders above its checkpoints at most
_CONFIG = "config"  # name of the experiment in a run directory


def experiment_of(arguments: Arguments, task: str) -> Arguments:
    """Put what `checkpoint=FILE` stands for in its place.

    Without `-cn` the experiment is the configuration of the run that wrote the checkpoint, and the results go to
    `evaluation/TASK` in its run directory. With `-cn` it is `ckpt_path=FILE`. Other overrides stand behind, and win;
    `dir.data` moves every path of the run in its folder of data.

    Args:
        arguments: The command line.
        task: Name of the task.

    Raises:
        ConfigError: There is no such checkpoint, no configuration of a run in the folders above it, or a key that such
            a configuration has no use for.
    """
    asked = [line for line in arguments.overrides if _key(line) == KEY]
    if not asked:
        return arguments
    from eztorch.engine.compose import quote

    checkpoint = find_checkpoint(asked[-1].partition("=")[2].strip("'\""), Path(), key=KEY)
    assert checkpoint is not None  # one was asked for
    file = checkpoint.absolute()
    others = tuple(line for line in arguments.overrides if _key(line) != KEY)
    if arguments.config_name is not None:
        return replace(arguments, overrides=(f"++ckpt_path={quote(str(file))}", *others))
    folder = run_directory(file)
    if folder is None:
        raise ConfigError(
            f"{KEY}={checkpoint}: none of the folders above it is a run directory, with a {_CONFIG}.yaml. Name the "
            f"experiment that it is of: -cn EXPERIMENT ckpt_path={checkpoint}."
        )
    values = {"ckpt_path": str(file), "dir.run": str(folder / "evaluation" / task)}
    values |= _moved_data(folder / f"{_CONFIG}.yaml", others)
    own = (f"++{key}={quote(value)}" for key, value in values.items())
    return replace(arguments, config_path=str(folder), config_name=_CONFIG, overrides=(*own, *others))


def run_directory(checkpoint: Path) -> Path | None:
    """Return the run directory that a checkpoint stands in, None where there is none."""
    for folder in list(checkpoint.absolute().parents)[:_LEVELS]:
        if (folder / f"{_CONFIG}.yaml").is_file():
            return folder
    return None


def _moved_data(config: Path, overrides: Sequence[str]) -> dict[str, str]:
    """Return the paths of a run that `dir.data` moves, by their keys: its configuration has no references any more.

    Args:
        config: The configuration of the run.
        overrides: What was asked for.

    Raises:
        ConfigError: `dir.root` or `dir.exp` is asked for, which say where a run is that has its place already.
    """
    asked = {_key(line): line.partition("=")[2].strip("'\"") for line in overrides}
    for key in ("dir.root", "dir.exp"):
        if key in asked:
            raise ConfigError(
                f"{key}={asked[key]} beside {KEY}= says nothing: results are put elsewhere by dir.run=FOLDER."
            )
    if "dir.data" not in asked:
        return {}
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    before = (content.get("dir") or {}).get("data") or ""
    return {
        key: asked["dir.data"] + path.removeprefix(before)
        for key, path in _paths(content)
        if before and key != "dir.data" and (path == before or path.startswith(f"{before}/"))
    }


def _paths(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts of a configuration by their keys; those of lists have none."""
    if isinstance(content, str):
        yield prefix, content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            yield from _paths(value, f"{prefix}.{name}" if prefix else str(name))


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
