"""The nearest neighbours of features in a bank of any size, exactly and in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from eztorch.utils.errors import DataError

# A block of queries and one of the bank are compared at a time: 64 MiB of float32. Every block of queries has this many
# rows, the last one filled up with zeros, so that the sums of a query are made alike whichever process makes them.
QUERY_ROWS = 1024
BANK_ROWS = 16384


class Neighbours(NamedTuple):
    """The nearest rows of a bank, best first.

    Attributes:
        similarity: Dot products in float32, shape (M, k); -inf where the bank has no further row.
        rows: Rows of the bank, shape (M, k); -1 where it has no further row.
    """

    similarity: Tensor
    rows: Tensor


@torch.no_grad()
def nearest_neighbours(
    queries: Tensor,
    bank: Tensor | Iterable[Tensor],
    *,
    k: int,
    query_ids: Tensor | None = None,
    bank_ids: Tensor | None = None,
    query_rows: int = QUERY_ROWS,
) -> Neighbours:
    """Find the k rows of a bank that have the largest dot product with each query.

    The bank is passed over once. Of rows that are equally near the first ones are taken, in the order of the bank.

    Args:
        queries: Features, shape (M, C).
        bank: Features, shape (N, C), or their blocks one after the other, which are brought to the device of the
            queries.
        k: Number of neighbours; of a bank with fewer rows all of them.
        query_ids: What each query is, shape (M,). A row of the bank that is the same is no neighbour of it.
        bank_ids: What each row of the bank is, shape (N,); with `query_ids`.
        query_rows: How many queries are compared at a time.

    Raises:
        DataError: A feature is not finite.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    >>> nearest_neighbours(torch.tensor([[0.9, 0.1]]), bank, k=2).rows.tolist()
    [[0, 2]]
    """
    check_finite(queries, "query")
    blocks = bank.split(BANK_ROWS) if isinstance(bank, Tensor) else bank
    parts = list(_padded(queries.float(), query_rows))
    found = [Neighbours(part.new_empty(len(part), 0), part.new_empty(len(part), 0).long()) for part in parts]
    begin = 0
    for block in blocks:
        rows = block.to(queries.device).float()
        check_finite(rows, "bank", begin)
        for number, part in enumerate(parts):
            similarity = part @ rows.T
            if query_ids is not None and bank_ids is not None:
                own = query_ids[number * query_rows : (number + 1) * query_rows].to(rows.device)
                same = own[:, None] == bank_ids[begin : begin + len(rows)].to(rows.device)[None, :]
                similarity[: len(own)].masked_fill_(same, -torch.inf)
            values, index = _first_largest(similarity, min(k, len(rows)))
            found[number] = _merge(found[number], Neighbours(values, index + begin), k)
        begin += len(rows)
    similarity = torch.cat([one.similarity for one in found])[: len(queries)]
    index = torch.cat([one.rows for one in found])[: len(queries)]
    return Neighbours(similarity, index.masked_fill(similarity == -torch.inf, -1))


def check_finite(features: Tensor, what: str, begin: int = 0) -> None:
    """Check that features are numbers.

    Args:
        features: Shape (N, C).
        what: What messages call their set.
        begin: Number of the first row in that set.

    Raises:
        DataError: Some are not; the message has the first row.
    """
    finite = features.isfinite().all(dim=1)
    if not bool(finite.all()):
        row = begin + int((~finite).nonzero()[0])
        raise DataError(
            f"Row {row} of the {what} features has values that are no finite numbers, so it has no neighbours. "
            "Has the training diverged?"
        )


def _padded(queries: Tensor, rows: int) -> Iterator[Tensor]:
    """Take queries apart into blocks of one size; at least one."""
    for begin in range(0, max(len(queries), 1), rows):
        part = queries[begin : begin + rows]
        yield functional.pad(part, (0, 0, 0, rows - len(part)))


def _first_largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest values of each row, best first, and their places; of equal values the first ones."""
    values, index = similarity.topk(k, dim=1)
    least = values[:, -1:]
    unsure = (similarity == least).sum(dim=1) > (values == least).sum(dim=1)  # topk took some of those that are equal
    if bool(unsure.any()):
        rows, limit = similarity[unsure], least[unsure]
        above, equal = rows > limit, rows == limit
        free = k - above.sum(dim=1, keepdim=True)
        index[unsure] = (above | (equal & (equal.cumsum(dim=1) <= free))).nonzero()[:, 1].view(-1, k)
    index = index.sort(dim=1).values
    values, order = similarity.gather(1, index).sort(dim=1, descending=True, stable=True)
    return values, index.gather(1, order)


def _merge(before: Neighbours, after: Neighbours, k: int) -> Neighbours:
    """Return the k best of two lists, the second of which is of later rows of the bank."""
    values = torch.cat([before.similarity, after.similarity], dim=1)
    index = torch.cat([before.rows, after.rows], dim=1)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return Neighbours(values[:, :k].contiguous(), index.gather(1, order[:, :k]))
