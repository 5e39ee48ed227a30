"""Retrieval: does a query find samples of its class among the nearest of a bank?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from eztorch.evaluation.feature_store import FeatureSet, blocks
from eztorch.evaluation.neighbours import BANK_ROWS, QUERY_ROWS

_MAX_SIMILARITIES = 2**25  # in memory at a time: 128 MiB of float32


def mean_feature(features: FeatureSet) -> Tensor:
    """Return the mean of features in float64, shape (C,); they are read a block at a time."""
    total = torch.stack([block.double().sum(dim=0) for block in blocks(features, BANK_ROWS)]).sum(dim=0)
    return total / len(features)


def prepared(features: Tensor, *, centre: Tensor | None = None, normalize: bool = True) -> Tensor:
    """Centre features, then divide each by its length.

    Args:
        features: Shape (N, C).
        centre: What is taken off them, shape (C,); None takes nothing off.
        normalize: Whether they are divided by their L2 norm, so that dot products are cosines.

    >>> prepared(torch.tensor([[4.0, 5.0]]), centre=torch.tensor([1.0, 1.0])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    values = features.float() if centre is None else features.float() - centre.to(features.device).float()
    return functional.normalize(values, dim=1) if normalize else values


def count_hits(labels: Tensor, neighbour_labels: Tensor, ranks: Sequence[int]) -> Tensor:
    """Count the queries that have one of their class among the first r neighbours: recall at r, times their number.

    Args:
        labels: Classes of the queries, shape (M,); those labelled -1 count for nothing.
        neighbour_labels: Classes of their neighbours, nearest first, shape (M, k); -1 is no class.
        ranks: The numbers r.

    Returns:
        Shape (len(ranks),), int64.

    >>> count_hits(torch.tensor([0, 1, -1]), torch.tensor([[1, 0], [1, 0], [-1, 0]]), [1, 2]).tolist()
    [1, 2]
    """
    is_hit = (neighbour_labels == labels[:, None]) & (labels >= 0)[:, None]
    return torch.stack([is_hit[:, :rank].any(dim=1).sum() for rank in ranks])


@torch.no_grad()
def average_precisions(
    queries: Tensor,
    labels: Tensor,
    bank: FeatureSet | Tensor,
    bank_labels: Tensor,
    *,
    centre: Tensor | None = None,
    normalize: bool = True,
    query_ids: Tensor | None = None,
    bank_ids: Tensor | None = None,
) -> Tensor:
    """Return the average precision of each query over the whole bank.

    AP = (sum over the samples i of the query's class in the bank of precision(rank of i)) / their number, where
    precision(r) is the share of the first r that are of its class. The bank is passed over once for every block of
    queries; their similarities take 128 MiB at most. Of samples that are equally near, the first of the bank is first.

    Args:
        queries: Prepared features, shape (M, C).
        labels: Their classes, shape (M,).
        bank: Features, not yet prepared, shape (N, C).
        bank_labels: Their classes, shape (N,); -1 is no class.
        centre: How the bank is prepared, see `prepared`.
        normalize: The same.
        query_ids: See `eztorch.evaluation.neighbours.nearest_neighbours`: the query itself is not in its bank.
        bank_ids: The same.

    Returns:
        Shape (M,); 0 for a query whose class is not in the bank or that has no label.

    >>> bank = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> average_precisions(bank[:1], torch.tensor([0]), bank, torch.tensor([0, 1, 0])).tolist()
    [0.8333333333333333]
    """
    size = len(bank)
    # Blocks of one size, so that a query is summed alike whichever process has it.
    chunk = max(1, min(QUERY_ROWS, _MAX_SIMILARITIES // max(size, 1)))
    precise = torch.float32 if queries.device.type == "mps" else torch.float64  # Metal has no float64
    found = [torch.zeros(0, dtype=precise, device=queries.device)]
    classes = bank_labels.to(queries.device)
    for begin in range(0, len(queries), chunk):
        part, own = queries[begin : begin + chunk], labels[begin : begin + chunk].to(queries.device)
        pieces = bank.split(BANK_ROWS) if isinstance(bank, Tensor) else blocks(bank, BANK_ROWS)
        rows = (prepared(piece.to(part.device), centre=centre, normalize=normalize) for piece in pieces)
        padded = functional.pad(part, (0, 0, 0, chunk - len(part)))
        similarity = torch.cat([padded @ row.T for row in rows], dim=1)[: len(part)]
        relevant = (classes[None, :] == own[:, None]) & (own >= 0)[:, None]
        if query_ids is not None and bank_ids is not None:
            same = query_ids[begin : begin + chunk].to(part.device)[:, None] == bank_ids.to(part.device)[None, :]
            similarity.masked_fill_(same, -torch.inf)  # last in the order, and no member of its class
            relevant &= ~same
        relevant = relevant.gather(1, similarity.argsort(dim=1, descending=True, stable=True))
        places = torch.arange(1, size + 1, device=part.device, dtype=precise)
        precision = relevant.cumsum(dim=1) / places
        found.append((precision * relevant).sum(dim=1) / relevant.sum(dim=1).clamp_min(1))
    return torch.cat(found)
