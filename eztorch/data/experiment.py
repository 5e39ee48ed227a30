"""The datamodule of an experiment, for commands that look at what a run would read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eztorch.engine.arguments import Arguments
from eztorch.engine.compose import Composer, refuse_unused, replace_gpus
from eztorch.engine.experiments import find_recipe, import_from_working_directory
from eztorch.engine.noise import quieten
from eztorch.utils.config import build

if TYPE_CHECKING:
    from eztorch.datamodules import BaseDataModule


def load_config(experiment: Arguments) -> dict[str, Any]:
    """Compose an experiment as its run does.

    Args:
        experiment: Its name, folders and overrides, as a run takes them.

    Returns:
        The resolved configuration.

    Raises:
        ConfigError: There is no such experiment, or it cannot be composed.
    """
    quieten()
    recipe = find_recipe(experiment, "data")
    composer = Composer(recipe, "data")
    config = composer.compose(replace_gpus(list(experiment.overrides))[0])
    refuse_unused(config, multirun=False)
    import_from_working_directory()
    return composer.resolve(config, composer.run_dir(config))


def load_datamodule(experiment: Arguments) -> BaseDataModule:
    """Compose an experiment, and build its datamodule alone; see `load_config`."""
    datamodule: BaseDataModule = build(load_config(experiment)["datamodule"])
    return datamodule
