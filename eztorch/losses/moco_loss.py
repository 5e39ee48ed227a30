"""InfoNCE against a queue or a batch of target features, as MoCo has it.

Papers: https://arxiv.org/abs/1911.05722 (v1), https://arxiv.org/abs/2003.04297 (v2), https://arxiv.org/abs/2104.02057
(v3).
"""

from __future__ import annotations

from torch import Tensor

from eztorch.losses.relations import relational_cross_entropy


def moco_loss(
    query: Tensor,
    key: Tensor,
    *,
    temp: float,
    queue: Tensor | None = None,
    keys: Tensor | None = None,
    keys_offset: int = 0,
) -> Tensor:
    """Compute InfoNCE of online features against target features of another view (MoCo, eq. 1).

        loss = - mean over i of log ( exp(query_i . key_i / temp) / sum over k of exp(query_i . key_k / temp) )

    where k runs over the positive and the negatives: the rows of `queue`, and of `keys` all but the query's own. The
    loss is computed in float32 or finer, under autocast too, without copies of the queue; its gradient goes to `query`
    alone, and the queue may be written before the backward pass.

    MoCo v3 (its algorithm 1) is this loss with `keys` alone, times 2 temp.

    Args:
        query: Normalised features of the online branch, shape (B, D).
        key: Normalised features of the target branch for the same samples, the positives, shape (B, D).
        temp: Temperature, above 0.
        queue: Normalised features of earlier samples, shape (K, D).
        keys: `key` of all processes in the order of the ranks, shape (N, D), to use the batch as negatives too.
        keys_offset: Row of `keys` where `key` begins: rank * B.

    Returns:
        Mean over the batch, shape ().

    Raises:
        ConfigError: The temperature is not above 0, or there are no negatives.
        ValueError: The shapes do not fit.

    >>> import torch
    >>> query, key, queue = torch.eye(3)[:1], torch.eye(3)[:1], torch.eye(3)[1:]
    >>> moco_loss(query, key, temp=1.0, queue=queue)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    """
    return relational_cross_entropy(
        query, key, temp=temp, temp_m=1.0, coeff=1.0, queue=queue, keys=keys, keys_offset=keys_offset
    )
