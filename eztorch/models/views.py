"""The views of a video brought together, wherever they are: in one batch, in several, or on several processes.

B views of a batch, K classes, V videos.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eztorch.utils.distributed import all_gather_rows, world_size
from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.names import choose, did_you_mean

# Views that wait on the device before they are added up on the host: what bounds the memory, and how often the host
# waits for the device.
_MAX_PENDING = 4096
_NAMES: Mapping[str, str] = {"avg_group": "mean", "same_avg": "mean", "same_max": "max"}
_KEYS = ("name", "of", "num_aug")
_OF = {"probabilities": "probabilities", "logits": "logits"}


@dataclass(frozen=True)
class Aggregation:
    """How the scores of the views of a video become those of the video.

    Attributes:
        reduction: `mean` or `max` over the views.
        of: `probabilities`, or `logits`, of whose mean or maximum the probabilities are then taken.
        max_views: How many views a video has at most; None leaves it open.
    """

    reduction: str = "mean"
    of: str = "probabilities"
    max_views: int | None = None

    def __post_init__(self) -> None:
        choose({"mean": 0, "max": 0}, self.reduction, "reduction")
        choose(_OF, self.of, "of")

    def __str__(self) -> str:
        return f"{self.reduction} of {self.of}"


def read_aggregation(time_augmentation: Mapping[str, Any], key: str) -> Aggregation:
    """Read a time augmentation.

    Args:
        time_augmentation: `{name: avg_group}` or `{name: same_avg}` averages the views of a video, `{name: same_max}`
            takes their maximum. `of`, optional, says whether of their `probabilities`, the default, or of their
            `logits`; `num_aug`, optional, how many views a video has at most.
        key: Configuration key it came from, for the messages.

    Raises:
        ConfigError: A name, a value or a key is not known.

    >>> str(read_aggregation({"name": "avg_group", "of": "logits"}, "model.test_time_augmentation"))
    'mean of logits'
    """
    unknown = [name for name in time_augmentation if name not in _KEYS]
    if unknown or "name" not in time_augmentation:
        hint = did_you_mean(unknown[0], _KEYS) if unknown else ""
        raise ConfigError(
            f"{key}={dict(time_augmentation)} must have a name, may have of and num_aug, and nothing else.{hint}"
        )
    reduction = choose(_NAMES, time_augmentation["name"], f"{key}.name")
    of = choose(_OF, time_augmentation.get("of", "probabilities"), f"{key}.of")
    return Aggregation(reduction, of, time_augmentation.get("num_aug"))


class Videos(NamedTuple):
    """Videos in the order of their index.

    Attributes:
        idx: Index of each, shape (V,).
        labels: Its class, shape (V,), or a weight of every class, shape (V, K).
        counts: How many views it has, shape (V,).
        scores: Its probabilities, float64, shape (V, K).
    """

    idx: Tensor
    labels: Tensor
    counts: Tensor
    scores: Tensor


class ViewTotals:
    """What is kept of views: the sums of each video, on the host and in float64.

    Args:
        aggregation: What is summed up.
        multi_label: Whether each class has a probability of its own, sigmoid(logit); otherwise softmax(logits).
    """

    def __init__(self, aggregation: Aggregation, *, multi_label: bool = False) -> None:
        self.aggregation = aggregation
        self.multi_label = multi_label
        self._pending: list[tuple[Tensor, Tensor, Tensor]] = []
        self._sums: tuple[Tensor, Tensor, Tensor, Tensor] | None = None  # idx, labels, counts, totals

    @property
    def num_pending(self) -> int:
        """Number of views that wait to be added up."""
        return sum(len(idx) for idx, _, _ in self._pending)

    def add(self, idx: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Take the views of a batch.

        Args:
            idx: Index of the video of each view, shape (B,).
            labels: Its class, shape (B,), or a weight of every class, shape (B, K).
            logits: Shape (B, K).
        """
        self._pending.append((idx, labels, logits.detach()))
        if self.num_pending >= max(_MAX_PENDING, 0 if self._sums is None else len(self._sums[0])):
            self._add_up_pending()

    def videos(self) -> Videos:
        """Return the videos of this process.

        Raises:
            DataError: One has more views than `max_views`.
        """
        self._add_up_pending()
        return self._finish(*self._local_sums())

    def videos_of_all_processes(self, device: torch.device) -> Videos:
        """Return the videos of all processes, each once, on every process alike; every one has to call this.

        Args:
            device: Of the process group.

        Raises:
            DataError: One has more views than `max_views`.
        """
        self._add_up_pending()
        parts = [all_gather_rows(part, device) for part in self._local_sums()]
        return self._finish(*(self._add_up(*parts) if world_size() > 1 and len(parts[0]) else parts))

    def _local_sums(self) -> tuple[Tensor, ...]:
        if self._sums is not None:
            return self._sums
        none = torch.empty(0, dtype=torch.long)
        labels = torch.empty(0, 0) if self.multi_label else none
        return none, labels, none, torch.empty(0, 0, dtype=torch.float64)

    def _finish(self, idx: Tensor, labels: Tensor, counts: Tensor, totals: Tensor) -> Videos:
        most = self.aggregation.max_views
        if most is not None and bool((counts > most).any()):
            one = int(counts.argmax())
            raise DataError(
                f"Video {int(idx[one])} has {int(counts[one])} views, and the time augmentation says num_aug={most}."
            )
        if self.aggregation.reduction == "mean":
            totals = totals / counts[:, None]
        if self.aggregation.of == "logits":
            scores = totals.sigmoid() if self.multi_label else totals.softmax(dim=1)
        else:  # the maxima of several distributions are none
            scores = totals if self.multi_label else totals / totals.sum(dim=1, keepdim=True)
        return Videos(idx, labels, counts, scores)

    def _add_up_pending(self) -> None:
        if not self._pending:
            return
        idx, labels, logits = (torch.cat(parts).cpu() for parts in zip(*self._pending, strict=True))
        self._pending.clear()
        values = logits.double()
        if self.aggregation.of == "probabilities":
            values = values.sigmoid() if self.multi_label else values.softmax(dim=1)
        rows = [idx, labels, torch.ones_like(idx), values]
        if self._sums is not None:
            rows = [torch.cat(both) for both in zip(self._sums, rows, strict=True)]
        self._sums = self._add_up(*rows)

    def _add_up(
        self, videos: Tensor, labels: Tensor, counts: Tensor, totals: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bring together the rows of the same video.

        Args:
            videos: Index of the video of each row, shape (N,).
            labels: Its label, shape (N,) or (N, K).
            counts: Number of views in each row, shape (N,).
            totals: Their sum or maximum, shape (N, K).

        Returns:
            The same with one row a video, sorted by video.
        """
        unique, row = torch.unique(videos, return_inverse=True)
        return (
            unique,
            labels.new_empty(len(unique), *labels.shape[1:]).index_copy_(0, row, labels),
            counts.new_zeros(len(unique)).index_add_(0, row, counts),
            totals.new_zeros(len(unique), totals.shape[1]).scatter_reduce_(
                0,
                row[:, None].expand_as(totals),
                totals,
                "sum" if self.aggregation.reduction == "mean" else "amax",
                include_self=False,
            ),
        )
