"""What is checked of the mapping of a split before any data is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eztorch.datamodules.loader import check_options
from eztorch.datamodules.sources import read_sources
from eztorch.datasets.reading import check_on_error
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import check_keys


def check_split(spec: Mapping[str, Any], split: str, *, known: Sequence[str]) -> None:
    """Check what a user says of a split.

    Args:
        spec: The mapping of the split.
        split: The split.
        known: Keys that it may have.

    Raises:
        ConfigError: There is another key, no batch size, or a value that cannot be.
    """
    check_keys(spec, known, f"datamodule.{split}")
    size = spec.get("global_batch_size")
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"datamodule.{split}.global_batch_size={size!r}; expected a whole number of at least 1.")
    check_options(spec.get("loader") or {}, split)
    read_sources(spec.get("dataset"), split)
    folds, on_error = spec.get("num_folds"), spec.get("on_error")
    if folds is not None and (split != "train" or not isinstance(folds, int) or folds < 1):
        expected = "a whole number of at least 1" if split == "train" else "none: it is of training alone"
        raise ConfigError(f"datamodule.{split}.num_folds={folds!r}; expected {expected}.")
    if on_error is not None:
        try:
            check_on_error(on_error)
        except ConfigError as error:
            raise ConfigError(f"datamodule.{split}.{error}") from error
        if split == "train" and on_error == "count_as_wrong":
            raise ConfigError(f"datamodule.train.on_error={on_error}: training has no answers to count.")


def check_accumulation(accumulated: int, batches: int, num_folds: int) -> None:
    """Refuse an optimizer step with gradients of two passes, which no run of one pass an epoch has.

    Args:
        accumulated: Batches of an optimizer step.
        batches: Batches of a pass over the training data.
        num_folds: Passes of an epoch, more than one.

    Raises:
        ConfigError: The batches of a pass are not so many whole steps.
    """
    if batches % accumulated:
        raise ConfigError(
            f"trainer.accumulate_grad_batches={accumulated} does not divide the {batches} batches of a pass over "
            f"the training data, and datamodule.train.num_folds={num_folds}: a step would have gradients of two "
            "passes. Write another global_batch_size or accumulate_grad_batches, or loader.drop_last=true."
        )
