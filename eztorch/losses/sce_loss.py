"""Similarity contrastive estimation (SCE).

Papers: https://arxiv.org/abs/2111.14585 (images), https://arxiv.org/abs/2212.11187 (videos).
"""

from __future__ import annotations

import math

from torch import Tensor

from eztorch.losses.relations import relational_cross_entropy


def sce_loss(
    query: Tensor,
    key: Tensor,
    *,
    temp: float,
    temp_m: float,
    coeff: float,
    queue: Tensor | None = None,
    keys: Tensor | None = None,
    keys_offset: int = 0,
) -> Tensor:
    """Compute the SCE loss of online features against target features of another view.

    The target w of query i is its positive, mixed with the relations s that the target branch sees between it and the
    negatives k; p is what the online branch sees (the papers' section "Similarity Contrastive Estimation"):

        s_ik = exp(key_i . key_k / temp_m), divided by its sum over the negatives; 0 for the positive
        w_ik = coeff * [k is the positive] + (1 - coeff) * s_ik
        p_ik = exp(query_i . key_k / temp), divided by its sum over the positive and the negatives
        loss = - mean over i of the sum over k of w_ik log p_ik

    Negatives are the rows of `queue`, and of `keys` all but the query's own. The loss is computed in float32 or finer,
    under autocast too, without copies of the queue; see `eztorch.losses.relations` for how. The gradient goes to
    `query` alone, and the queue may be written before the backward pass.

    Args:
        query: Normalised features of the online branch, shape (B, D).
        key: Normalised features of the target branch for the same samples, the positives, shape (B, D).
        temp: Temperature of the online similarities, above 0.
        temp_m: Temperature of the target's relations, above 0; lower is sharper.
        coeff: Share of the positive in the target, from 0 (relations alone) to 1 (contrastive loss alone).
        queue: Normalised features of earlier samples, shape (K, D).
        keys: `key` of all processes in the order of the ranks, shape (N, D), to use the batch as negatives too.
        keys_offset: Row of `keys` where `key` begins: rank * B.

    Returns:
        Mean over the batch, shape ().

    Raises:
        ConfigError: A temperature or the coefficient is out of range, or there are no negatives.
        ValueError: The shapes do not fit.

    >>> import torch
    >>> query, key, queue = torch.eye(3)[:1], torch.eye(3)[:1], torch.eye(3)[1:]
    >>> sce_loss(query, key, temp=1.0, temp_m=1.0, coeff=1.0, queue=queue)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    """
    return relational_cross_entropy(
        query, key, temp=temp, temp_m=temp_m, coeff=coeff, queue=queue, keys=keys, keys_offset=keys_offset
    )


def sce_chance_level(num_negatives: int) -> float:
    """Return the SCE loss of features that tell nothing: all similarities are equal, so p is uniform.

    It does not depend on the temperatures nor on the coefficient. A loss that stays there tells of collapsed features.

    Args:
        num_negatives: Number of negatives of a query.

    >>> round(sce_chance_level(32768), 3)
    10.397
    """
    return math.log1p(num_negatives)
