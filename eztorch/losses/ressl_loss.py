"""Relational self-supervised learning (ReSSL), https://arxiv.org/abs/2107.09282."""

from __future__ import annotations

from torch import Tensor

from eztorch.losses.relations import relational_cross_entropy


def ressl_loss(
    query: Tensor,
    key: Tensor,
    *,
    temp: float,
    temp_m: float,
    queue: Tensor | None = None,
    keys: Tensor | None = None,
    keys_offset: int = 0,
) -> Tensor:
    """Compute the cross-entropy between the relations that target and online branch see (the paper's eq. 4 to 6).

        s_ik = exp(key_i . key_k / temp_m), divided by its sum over k
        p_ik = exp(query_i . key_k / temp), divided by its sum over k
        loss = - mean over i of the sum over k of s_ik log p_ik

    where k runs over other samples alone: the rows of `queue`, and of `keys` all but the query's own. The loss is
    computed in float32 or finer, under autocast too, without copies of the queue; its gradient goes to `query` alone,
    and the queue may be written before the backward pass.

    Args:
        query: Normalised features of the online branch, shape (B, D).
        key: Normalised features of the target branch for the same samples, shape (B, D).
        temp: Temperature of the online relations, above 0.
        temp_m: Temperature of the target's relations, above 0; lower is sharper.
        queue: Normalised features of earlier samples, shape (K, D).
        keys: `key` of all processes in the order of the ranks, shape (N, D), to use the batch too.
        keys_offset: Row of `keys` where `key` begins: rank * B.

    Returns:
        Mean over the batch, shape ().

    Raises:
        ConfigError: A temperature is not above 0, or there are no other samples.
        ValueError: The shapes do not fit.

    >>> import torch
    >>> same = torch.eye(3)[:1]
    >>> ressl_loss(same, same, temp=1.0, temp_m=1.0, queue=torch.eye(3)[1:])  # two samples, equally far: log(2)
    tensor(0.6931)
    """
    return relational_cross_entropy(
        query,
        key,
        temp=temp,
        temp_m=temp_m,
        coeff=0.0,
        positive=False,
        queue=queue,
        keys=keys,
        keys_offset=keys_offset,
    )
