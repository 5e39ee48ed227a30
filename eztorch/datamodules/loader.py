"""Loaders: what a user may say of one, and one that can continue in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from eztorch.datasets.collate import COLLATE_FUNCTIONS
from eztorch.datasets.loader_samplers import EpochSampler, PassBatchSampler, ShardSampler
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import check_keys, choose
from eztorch.utils.values import as_count

_KEYS = (
    "collate_fn",
    "drop_last",
    "multiprocessing_context",
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "shuffle",
    "timeout",
)
# What torch refuses when there are no workers, so that `num_workers=0` alone is enough to debug.
_OF_WORKERS = ("multiprocessing_context", "persistent_workers", "prefetch_factor", "timeout")


class ResumableDataLoader(DataLoader[Any]):
    """A loader that continues where a resumed run stands in its epoch.

    Lightning asks for the iterator before it tells the sampler the epoch and before it knows where a resumed run
    stands. So nothing is read before the first batch is asked for.

    Args:
        dataset: The dataset.
        position: How many batches of the epoch to leave out; asked when the first batch of an epoch is.
        **options: Options of a torch `DataLoader`.
    """

    def __init__(self, dataset: Dataset[Any], *, position: Callable[[], int], **options: Any) -> None:
        super().__init__(dataset, **options)
        self.position = position

    @property
    def num_folds(self) -> int:
        """Passes over the data in an epoch."""
        return getattr(self.batch_sampler, "num_folds", 1)

    @property
    def batches_per_pass(self) -> int:
        """Batches of this process in a pass."""
        return len(self) // self.num_folds

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch asks for its own kind of iterator
        """Read the batches of an epoch, or of the rest of it."""
        if isinstance(self.batch_sampler, PassBatchSampler):
            self.batch_sampler.skip(self.position())
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing, as the position is the run's; that there is a state says that the loader can resume."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing over: Lightning forgets to call this where the length of an epoch was asked for before."""


def make_training_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    options: Mapping[str, Any],
    *,
    batch_size: int,
    position: Callable[[], int],
) -> ResumableDataLoader:
    """Make the loader of training.

    Args:
        dataset: The dataset.
        sampler: Which samples this process reads.
        options: What the user says of the loader.
        batch_size: Samples of this process in a batch.
        position: See `ResumableDataLoader`.
    """
    batches: Any = PassBatchSampler(sampler, batch_size, bool(options.get("drop_last")))  # torch expects integers
    return ResumableDataLoader(dataset, position=position, batch_sampler=batches, **_chosen(options))


def make_evaluation_loader(
    dataset: Dataset[Any], sampler: ShardSampler, options: Mapping[str, Any], *, batch_size: int
) -> DataLoader[Any]:
    """Make a loader of evaluation; see `make_training_loader` for the arguments."""
    chosen: dict[str, Any] = {**_chosen(options), "sampler": sampler}  # of addresses, where torch expects integers
    return DataLoader(dataset, batch_size=batch_size, **chosen)


def _chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of torch's loader that count."""
    chosen = {key: value for key, value in options.items() if key not in ("shuffle", "drop_last", "collate_fn")}
    if chosen.get("num_workers", 0) == 0:
        chosen = {key: value for key, value in chosen.items() if key not in _OF_WORKERS}
    else:
        chosen.setdefault("persistent_workers", True)
    # There is nothing to pin memory for without a GPU, and torch warns of it.
    chosen["pin_memory"] = bool(chosen.get("pin_memory", False)) and torch.cuda.is_available()
    return {**chosen, "collate_fn": COLLATE_FUNCTIONS[options.get("collate_fn", "default")]}


def check_options(options: Mapping[str, Any], split: str) -> None:
    """Check what a user says of the loader of a split.

    Raises:
        ConfigError: An unknown key or collate function, a batch size, or an evaluation that would lose or mix samples.
    """
    key = f"datamodule.{split}.loader"
    if "batch_size" in options:
        raise ConfigError(
            f"{key}.batch_size={options['batch_size']}: write datamodule.{split}.global_batch_size, the batch of all "
            "processes together; it is divided among them."
        )
    check_keys(options, _KEYS, key)
    choose(COLLATE_FUNCTIONS, options.get("collate_fn", "default"), f"{key}.collate_fn")
    as_count(options.get("num_workers", 0), f"{key}.num_workers", at_least=0)
    if split != "train":
        for name in ("shuffle", "drop_last"):
            if options.get(name):
                raise ConfigError(f"{key}.{name}=true: every sample is evaluated once and in order; leave it out.")
