"""What the evaluation metrics share: wrong answers that failures are, and the rows of all processes."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from eztorch.utils.distributed import all_gather_rows

if TYPE_CHECKING:
    from eztorch.models.views import Aggregation

NO_IDX, NO_ROWS = torch.empty(0, dtype=torch.long), torch.empty(0, 0)


def failures_that_count(batch: Any) -> list[Any]:
    """Return the failures of a batch that count as wrong answers: those with a label, where `on_error` says so.

    >>> failures_that_count({"input": None})
    []
    """
    failures = batch.get("failures") or ()
    return [one for one in failures if getattr(one, "counts_as_wrong", False) and _has_label(one.label)]


def _has_label(label: Any) -> bool:
    return isinstance(label, Tensor) or int(label) >= 0


class EvaluationMetric(Metric, ABC):
    """A metric over all processes, to which failures may be added as wrong answers.

    Accuracies and precisions are then over those too; the loss is over what was evaluated, as is `n_evaluated`.

    Attributes:
        aggregation: How the views of a video are brought together; None where every sample is measured by itself.
        multi_label: Whether a sample has a weight for every class instead of one class.
    """

    full_state_update = False
    aggregation: Aggregation | None = None
    multi_label: ClassVar[bool] = False
    wrong_idx: list[Tensor]

    def __init__(self) -> None:
        # Processes may have different numbers of samples, or none; and failures come beside `update`.
        super().__init__(sync_on_compute=False, compute_with_cache=False)
        self.add_state("wrong_idx", [], dist_reduce_fx=None)

    def add_failures(self, failures: Iterable[Any]) -> None:
        """Count failures as wrong answers, each once however many views it has.

        Args:
            failures: What `failures_that_count` returned.
        """
        idx = [int(failure.idx) for failure in failures]
        if idx:
            self.wrong_idx.append(torch.tensor(idx, device=self.device))

    def wrong_of_all_processes(self) -> Tensor:
        """Return the `idx` of the wrong answers that failures are, shape (N,), on the host."""
        unique: Tensor = self.of_all_processes(self.wrong_idx, NO_IDX).unique()
        return unique

    def of_all_processes(self, parts: Sequence[Tensor], none: Tensor) -> Tensor:
        """Return the rows of the batches of all processes, on the host.

        Args:
            parts: Rows of each batch of this process, shape (N,) or (N, C).
            none: What they are where this process had no batch, `NO_IDX` or `NO_ROWS` of their type.
        """
        return all_gather_rows(torch.cat(list(parts)) if parts else none, self.device)
