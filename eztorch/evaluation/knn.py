"""Classification by nearest neighbours in feature space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from eztorch.evaluation.neighbours import QUERY_ROWS, nearest_neighbours
from eztorch.utils.errors import ConfigError


@torch.no_grad()
def knn_predict(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int | None = None,
    exclude_self: bool = False,
) -> Tensor:
    """Predict the class of queries by a vote of their nearest neighbours in a bank.

    The k neighbours of largest cosine similarity s vote for their class with weight exp(s / temperature) (Wu et al.,
    arXiv 1805.01978, section 3.4). Computed in float32.

    Args:
        bank: Features, shape (N, C).
        bank_labels: Their classes, shape (N,); rows labelled -1 do not vote.
        queries: Features, shape (M, C).
        k: Number of neighbours; all of the bank when it has fewer.
        temperature: Small values let the nearest neighbours decide alone.
        num_classes: Number of classes; those that the bank's labels show when it is not given.
        chunk: Number of queries compared at a time; a thousand when it is not given.
        exclude_self: Query i is row i of the bank and does not vote for itself (M = N).

    Returns:
        Classes, best first, shape (M, num_classes).

    Raises:
        ConfigError: `k` is not positive, the bank has no labelled row, or `exclude_self` with M != N.
        DataError: A feature is not finite.

    >>> bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> knn_predict(bank, torch.tensor([0, 0, 1]), torch.tensor([[0.2, 0.8]]), k=1)
    tensor([[1, 0]])
    """
    rows = (bank_labels >= 0).nonzero().squeeze(1)
    if k < 1:
        raise ConfigError(f"k={k}: the number of neighbours must be positive.")
    if not len(rows):
        raise ConfigError(f"None of the {len(bank)} samples of the kNN bank has a label.")
    if exclude_self and len(bank) != len(queries):
        raise ConfigError(f"exclude_self needs the queries to be the bank; got {len(queries)} and {len(bank)} rows.")
    labels = bank_labels[rows].long()
    nearest = nearest_neighbours(
        functional.normalize(queries.float(), dim=1),
        functional.normalize(bank[rows].float(), dim=1),
        k=k,
        query_ids=torch.arange(len(queries)) if exclude_self else None,
        bank_ids=rows,
        query_rows=chunk or QUERY_ROWS,
    )
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    return knn_vote(nearest.similarity, labels[nearest.rows], temperature=temperature, num_classes=num_classes)


def knn_vote(similarity: Tensor, labels: Tensor, *, temperature: float, num_classes: int) -> Tensor:
    """Let neighbours vote; see `knn_predict`.

    Args:
        similarity: Cosine similarities of the neighbours, best first, shape (M, k); -inf for one that has no vote.
        labels: Their classes, shape (M, k); those without a vote may have any.
        temperature: See `knn_predict`.
        num_classes: Number of classes.

    Returns:
        Classes, best first, shape (M, num_classes).

    >>> knn_vote(torch.tensor([[0.9, 0.8, 0.8]]), torch.tensor([[0, 1, 1]]), temperature=1.0, num_classes=3)
    tensor([[1, 0, 2]])
    """
    # Scaled alike, so that the largest is 1; a query without any neighbour has no votes at all.
    weights = ((similarity - similarity[:, :1]) / temperature).exp().masked_fill(similarity == -torch.inf, 0)
    votes = weights.new_zeros(len(weights), num_classes).scatter_add_(1, labels, weights)
    return votes.argsort(dim=1, descending=True, stable=True)


def count_correct(predictions: Tensor, labels: Tensor, *, top: int = 1) -> Tensor:
    """Count the samples whose class is among the first predictions; those labelled -1 count for nothing.

    Args:
        predictions: Classes, best first, shape (M, num_classes).
        labels: Classes, shape (M,).
        top: Number of predictions that count.

    Returns:
        (correct, labelled), shape (2,), int64.

    >>> count_correct(torch.tensor([[1, 0], [0, 1], [0, 1]]), torch.tensor([1, 1, -1])).tolist()
    [1, 2]
    """
    correct = (predictions[:, :top] == labels[:, None]).any(dim=1)
    return torch.stack([correct.sum(), (labels >= 0).sum()])
