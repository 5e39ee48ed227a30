"""Descriptions of networks: of an experiment, or of the run that a checkpoint is of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from eztorch.engine.arguments import Arguments
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.engine.explain import explained
from eztorch.engine.finished_run import run_directory
from eztorch.engine.pretrained import network_key
from eztorch.utils.errors import ConfigError


def experiment_network(experiment: Arguments) -> dict[str, Any]:
    """Return the description of the network of an experiment; values that it does not need may be missing.

    Args:
        experiment: Its name, folders and overrides.

    Raises:
        ConfigError: There is no such experiment, it does not compose, or its model has no network.
    """
    recipe = find_recipe(experiment, "pretrain")
    config = Composer(recipe, "checkpoint").compose(experiment.overrides)
    model = config.get("model")
    key = None if model is None else network_key(OmegaConf.to_container(model, resolve=False))  # type: ignore[arg-type]
    if key is None:
        raise ConfigError(f"-cn {experiment.config_name}: model has neither trunk nor model, so there is no network.")
    with explained(config):
        found: dict[str, Any] = OmegaConf.to_container(model[key], resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    return found


def run_network(checkpoint: Path) -> dict[str, Any] | None:
    """Return the description of the network of the run that wrote a checkpoint, None where there is no such run."""
    folder = run_directory(checkpoint)
    config = None if folder is None else yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = config.get("model") if isinstance(config, Mapping) else None
    key = network_key(model) if isinstance(model, Mapping) else None
    return dict(model[key]) if isinstance(model, Mapping) and key is not None else None
