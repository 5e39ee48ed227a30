"""What can be said of a configuration before anything is built: all problems at once, each with its key."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from eztorch.utils.config import accepted_keys, is_spec, locate, problems
from eztorch.utils.distributed import local_batch_size
from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count

_SECTIONS = ("datamodule", "model", "trainer")
_SPLITS = ("train", "val", "test")


def check_config(config: Mapping[str, Any], needs: tuple[str, ...]) -> None:
    """Check the sections, every `_target_` and every key of a resolved configuration.

    Args:
        config: Resolved configuration.
        needs: Splits of the datamodule that the task cannot do without.

    Raises:
        ConfigError: Something is wrong; the message lists all of it.
    """
    found = [*_sections(config), *_splits(config, needs), *_targets(config)]
    if found:
        raise ConfigError("The configuration cannot be used:\n" + "\n".join(f"  - {line}" for line in found))
    _warn_of_schedule_length(config)


def check_batches(datamodule: Mapping[str, Any], world_size: int) -> None:
    """Check that the world size divides the global batch of every split.

    Raises:
        ConfigError: It does not, and the message has the key and both numbers; or a batch is no whole number.
    """
    for split in _SPLITS:
        size, key = (datamodule.get(split) or {}).get("global_batch_size"), f"datamodule.{split}.global_batch_size"
        if size is not None:
            local_batch_size(as_count(size, key), world_size, key)


def _sections(config: Mapping[str, Any]) -> Iterator[str]:
    for section in _SECTIONS:
        if section not in config:
            yield f"{section}: this section is missing"
        elif not is_spec(config[section]):
            found = "one without" if isinstance(config[section], Mapping) else repr(config[section])
            yield f"{section}: expected a mapping with a _target_, got {found}"


def _splits(config: Mapping[str, Any], needs: tuple[str, ...]) -> Iterator[str]:
    datamodule = config.get("datamodule")
    if isinstance(datamodule, Mapping) and _has_sections(datamodule):
        yield from (f"datamodule.{split}: this task needs this section" for split in needs if not datamodule.get(split))


def _has_sections(datamodule: Mapping[str, Any]) -> bool:
    """Say whether a datamodule is described by a section for each split; one of another library may not be."""
    try:
        target = locate(str(datamodule.get("_target_")))
    except ConfigError:  # told as a problem of the target
        return True
    bases = getattr(target, "__mro__", ())
    is_own = any(base.__name__ == "LightningDataModule" for base in bases)
    is_ours = any(base.__module__.startswith("eztorch.") for base in bases)
    return not is_own or is_ours or "train" in (accepted_keys(target) or ())


def _targets(config: Mapping[str, Any]) -> Iterator[str]:
    # What a constructor is given later on (the model of an optimizer, say) is not in the tree: only extra keys count.
    yield from problems(config)


def _warn_of_schedule_length(config: Mapping[str, Any]) -> None:
    epochs = config["trainer"].get("max_epochs")
    optimizer = config["model"].get("optimizer")
    scheduler = optimizer.get("scheduler") if isinstance(optimizer, Mapping) else None
    planned = (scheduler.get("params") or {}).get("max_epochs") if isinstance(scheduler, Mapping) else None
    if planned is not None and planned != epochs:
        warnings.warn(
            f"model.optimizer.scheduler.params.max_epochs={planned} is not trainer.max_epochs={epochs}: the learning "
            "rate will not end where its schedule does. Write ${trainer.max_epochs} there to tie them.",
            stacklevel=2,
        )
