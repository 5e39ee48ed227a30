"""Samples that could not be read: counted, listed, and an error when there are too many."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from eztorch.callbacks.publishing import WritingSteps, publish, say
from eztorch.utils.distributed import all_gather_list, world_size
from eztorch.utils.errors import ConfigError, DataError

_COLUMNS = ("split", "epoch", "idx", "path", "decoder", "reason")


class FailureMonitor(Callback):
    """Keeps account of the samples that could not be read, those under `batch["failures"]`.

    Each is a line of a CSV file (`split, epoch, idx, path, decoder, reason`), written by rank 0 for all ranks; a run
    that is continued adds to the file.

    In training another draw stands in for such a sample; the first one is told, and `data/failed_samples` counts them
    since the run was started. When more than a set share of an epoch fails, the run ends with an error, on every rank
    alike, as soon as that is certain. In evaluation a sample is never replaced: `{val,test}/n_evaluated` and
    `{val,test}/n_expected` say how many took part, and a warning says so when some are missing.

    Args:
        path: The file, `failed_samples.csv` of the run directory; made at the first failure.
        max_failure_share: Share of the samples of a training epoch that may fail, 0 to 1.
    """

    def __init__(self, path: str | Path, *, max_failure_share: float = 0.05) -> None:
        if not 0 <= max_failure_share <= 1:
            raise ConfigError(f"max_failure_share={max_failure_share}: expected a share, 0 to 1.")
        self._file = Path(path)
        self._max_failure_share = max_failure_share
        self._due = WritingSteps()
        self._rows: list[tuple[Any, ...]] = []  # of this rank, not yet written
        self._last: tuple[Any, ...] = ()  # failure in training
        self._has_told = False
        self._in_epoch = 0  # failures of all ranks
        self._in_run = 0
        self._in_evaluation = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the step that the run starts or continues from."""
        self._due.start(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._in_epoch = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the failures of the batch; look at the count when scalars are written."""
        self._keep(batch, "train", trainer.current_epoch)
        if self._due.is_due(trainer):
            self._check_training(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the count of the whole epoch."""
        self._check_training(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the failures of the batch; those of a sanity check come again."""
        if not trainer.sanity_checking:
            self._keep(batch, "val", trainer.current_epoch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the failures of the batch."""
        self._keep(batch, "test", trainer.current_epoch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many of how many samples were evaluated."""
        if not trainer.sanity_checking:
            self._close_evaluation(trainer, pl_module, "val", trainer.val_dataloaders, trainer.limit_val_batches)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many of how many samples were evaluated."""
        self._close_evaluation(trainer, pl_module, "test", trainer.test_dataloaders, trainer.limit_test_batches)

    def _keep(self, batch: Any, split: str, epoch: int) -> None:
        if not isinstance(batch, Mapping):  # of a user's own loader
            return
        for failure in batch.get("failures") or ():
            reason = " ".join(str(failure.reason).split())
            self._rows.append((split, epoch, int(failure.idx), str(failure.path), failure.decoder, reason))

    def _flush(self, device: torch.device) -> None:
        """Bring the failures of all ranks together, write and count them, on every rank alike."""
        rows, self._rows = self._rows, []
        if world_size() > 1:
            count = torch.tensor(len(rows), device=device)
            dist.all_reduce(count)
            rows = all_gather_list(rows) if int(count) else []
        if not rows:
            return
        append_failures(self._file, rows)
        in_training = [row for row in rows if row[0] == "train"]
        self._last = in_training[-1] if in_training else self._last
        self._in_epoch += len(in_training)
        self._in_run += len(in_training)
        self._in_evaluation += len(rows) - len(in_training)

    def _check_training(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._flush(pl_module.device)
        publish(trainer, {"data/failed_samples": self._in_run})
        if self._last and not self._has_told:
            self._has_told = True
            _, _, _, path, decoder, reason = self._last
            say(trainer, f"A training sample could not be read: {path} ({decoder}): {reason}. See {self._file}.")
        expected = _num_samples(trainer.train_dataloader, trainer.limit_train_batches, trainer.world_size)
        if expected is not None and self._in_epoch > self._max_failure_share * expected:
            *_, path, decoder, reason = self._last
            raise DataError(
                f"{self._in_epoch} of the {expected} training samples of epoch {trainer.current_epoch} could not be "
                f"read, more than max_failure_share={self._max_failure_share:g}. The last one: {path} ({decoder}): "
                f"{reason}. All are listed in {self._file}."
            )

    def _close_evaluation(
        self, trainer: Trainer, pl_module: LightningModule, split: str, loaders: Any, limit: float
    ) -> None:
        self._flush(pl_module.device)
        loaders = loaders if isinstance(loaders, list | tuple) else [loaders]
        counts = [_num_samples(loader, limit, trainer.world_size) for loader in loaders]
        known = [count for count in counts if count is not None]
        failed, self._in_evaluation = self._in_evaluation, 0
        if len(known) < len(counts):
            return
        expected = sum(known)
        evaluated = expected - failed
        if not getattr(pl_module, "counts_evaluated", False):  # a module with metrics says what they are over
            publish(trainer, {f"{split}/n_evaluated": evaluated, f"{split}/n_expected": expected})
        if evaluated < expected:
            rank_zero_warn(
                f"{split}: {evaluated} of {expected} samples were evaluated; the others could not be read and are "
                f"listed in {self._file}."
            )


@rank_zero_only
def append_failures(path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add samples that could not be read to the file that lists them, which is made where it is not there.

    Args:
        path: The file.
        rows: Of each its split, epoch, index, path, decoder, and why.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:  # names need not be text
        writer = csv.writer(file)
        if is_new:
            writer.writerow(_COLUMNS)
        writer.writerows(rows)


def _num_samples(loader: Any, limit: float, world: int) -> int | None:
    """Return how many samples all ranks together take from a loader in an epoch: the same number on every rank.

    Of a user's own loader that is not known where its dataset has no length, or gives whole batches: None.

    Args:
        loader: Loader of this rank.
        limit: What the trainer was told: a number of batches, or (float) a share of them.
        world: Number of ranks; where it does not divide the samples the first ones have one more, maybe a batch more.
    """
    if loader.batch_sampler is None or not hasattr(loader.dataset, "__len__"):
        return None
    samples, size, passes = len(loader.dataset), loader.batch_sampler.batch_size, getattr(loader, "num_folds", 1)
    batches = math.ceil(math.ceil(samples / world) / size)  # of a pass
    taken = min(passes * batches, limit) if isinstance(limit, int) else int(passes * batches * limit)
    whole, rest = divmod(taken, batches)
    return int(whole * samples + min(samples, rest * size * world))
