"""Fetching the official archive of a small data set, when a user asks for it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from eztorch.utils.errors import ConfigError, DataError

_log = logging.getLogger("eztorch")


def download(name: str, root: str | Path | None, **arguments: Any) -> None:
    """Let torchvision fetch a data set, check it and unpack it.

    Args:
        name: Name of the data set in `torchvision.datasets`.
        root: Folder of the data, made where it is missing.
        **arguments: Further arguments of the data set.

    Raises:
        ConfigError: No folder is given.
        DataError: It cannot be fetched or is damaged.
    """
    from torchvision import datasets

    if root is None:
        raise ConfigError("datamodule.download=true needs a folder: write dir.data=/path/to/data (datamodule.datadir).")
    kind = getattr(datasets, name)
    _log.info(f"Fetching {name} into {root}.")
    try:
        Path(root).mkdir(parents=True, exist_ok=True)
        kind(root, download=True, **arguments)
    except (OSError, RuntimeError) as error:  # no network is an OSError, a wrong checksum a RuntimeError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name} cannot be fetched into {root}: {reason}. Fetch {kind.url} on a machine with network and unpack it "
            "there."
        ) from error
