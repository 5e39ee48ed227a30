"""The datamodule of an experiment, for commands that look at what a run would read."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eztorch.engine.arguments import Arguments
from eztorch.engine.compose import Composer, refuse_unused, replace_gpus
from eztorch.engine.experiments import find_recipe
from eztorch.engine.noise import quieten
from eztorch.utils.config import build

if TYPE_CHECKING:
    from eztorch.datamodules import BaseDataModule


def load_config(name: str, folder: str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose an experiment as its run does.

    Args:
        name: The experiment, as `-cn` takes it.
        folder: Its folder, as `-cp` takes it.
        overrides: Overrides of the configuration, those of the run.

    Returns:
        The resolved configuration.

    Raises:
        ConfigError: There is no such experiment, or it cannot be composed.
    """
    quieten()
    recipe = find_recipe(Arguments(config_name=name, config_path=folder), "data")
    composer = Composer(recipe, "data")
    config = composer.compose(replace_gpus(list(overrides))[0])
    refuse_unused(config, multirun=False)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a `_target_` may name a module of the working directory, as in a run
    return composer.resolve(config, composer.run_dir(config))


def load_datamodule(name: str, folder: str | None, overrides: Sequence[str]) -> BaseDataModule:
    """Compose an experiment, and build its datamodule alone; see `load_config`."""
    datamodule: BaseDataModule = build(load_config(name, folder, overrides)["datamodule"])
    return datamodule
