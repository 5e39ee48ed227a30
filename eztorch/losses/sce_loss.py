"""Similarity contrastive estimation (SCE).

Papers: https://arxiv.org/abs/2111.14585 (images), https://arxiv.org/abs/2212.11187 (videos).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eztorch.utils.errors import ConfigError


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
    under autocast too, without copies of the queue. Its gradient, which goes to `query` alone, is computed with it: the
    queue may be written before the backward pass.

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

    >>> query, key, queue = torch.eye(3)[:1], torch.eye(3)[:1], torch.eye(3)[1:]
    >>> sce_loss(query, key, temp=1.0, temp_m=1.0, coeff=1.0, queue=queue)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    """
    _check_scalars(temp, temp_m, coeff)
    _check_shapes(query, key, queue, keys, keys_offset)
    dtype = torch.promote_types(query.dtype, torch.float32)
    others = [None if x is None else x.detach().to(dtype) for x in (key, keys, queue)]
    with torch.autocast(query.device.type, enabled=False):
        losses: Tensor = _SCE.apply(query.to(dtype), *others, keys_offset, temp, temp_m, coeff)
        return losses.mean()


def sce_chance_level(num_negatives: int) -> float:
    """Return the SCE loss of features that tell nothing: all similarities are equal, so p is uniform.

    It does not depend on the temperatures nor on the coefficient. A loss that stays there tells of collapsed features.

    Args:
        num_negatives: Number of negatives of a query.

    >>> round(sce_chance_level(32768), 3)
    10.397
    """
    return math.log1p(num_negatives)


class _SCE(torch.autograd.Function):
    """Losses of the queries, shape (B,), with the gradient computed on the way.

    The targets of a query sum to 1, so its loss is log z - sum of w * logits, where z is the normaliser of p, and the
    gradient with respect to the logits is p - w. Negatives come in parts (the batch, the queue) that are never joined.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        keys: Tensor | None,
        queue: Tensor | None,
        keys_offset: int,
        temp: float,
        temp_m: float,
        coeff: float,
    ) -> Tensor:
        parts = [x for x in (keys, queue) if x is not None]
        positive = (query * key).sum(dim=1, keepdim=True).div_(temp)
        logits = [(query @ part.T).div_(temp) for part in parts]
        relations = [(key @ part.T).div_(temp_m) for part in parts]
        if keys is not None:
            for similarities in (logits[0], relations[0]):  # a query's own key is its positive, not a negative
                similarities.diagonal(keys_offset).fill_(torch.finfo(query.dtype).min)

        _softmax_(relations)  # they are s now
        losses = -coeff * positive[:, 0]
        for s, logit in zip(relations, logits, strict=True):
            losses.sub_(torch.einsum("bk,bk->b", s, logit), alpha=1 - coeff)
        losses += _softmax_([positive, *logits])  # they are p now
        gradient = (positive - coeff) * key
        for part, p, s in zip(parts, logits, relations, strict=True):
            gradient.addmm_(p.sub_(s, alpha=1 - coeff), part)
        ctx.save_for_backward(gradient.div_(temp))
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return outer[0][:, None] * gradient, *[None] * 7


def _softmax_(parts: Sequence[Tensor]) -> Tensor:
    """Take the softmax over the columns of all parts (B, n) together, in place; return its log normaliser (B,)."""
    top = torch.cat([part.amax(dim=1, keepdim=True) for part in parts], dim=1).amax(dim=1, keepdim=True)
    total = torch.cat([part.sub_(top).exp_().sum(dim=1, keepdim=True) for part in parts], dim=1).sum(1, keepdim=True)
    for part in parts:
        part.div_(total)
    return (top + total.log())[:, 0]


def _check_scalars(temp: float, temp_m: float, coeff: float) -> None:
    for name, value in (("temp", temp), ("temp_m", temp_m)):
        if not value > 0:
            raise ConfigError(f"{name}={value}: a temperature is above 0.")
    if not 0 <= coeff <= 1:
        raise ConfigError(f"coeff={coeff}; expected a value from 0 to 1.")


def _check_shapes(query: Tensor, key: Tensor, queue: Tensor | None, keys: Tensor | None, keys_offset: int) -> None:
    shapes = {"query": query, "key": key, "queue": queue, "keys": keys}
    told = ", ".join(f"{name} {tuple(x.shape)}" for name, x in shapes.items() if x is not None)
    if query.shape != key.shape or any(x is not None and x.shape[1:] != query.shape[1:] for x in (queue, keys)):
        raise ValueError(f"query and key are (B, D), queue (K, D), keys (N, D); got {told}.")
    if keys is not None and not 0 <= keys_offset <= len(keys) - len(key):
        raise ValueError(
            f"keys_offset={keys_offset}: rows {keys_offset} to {keys_offset + len(key)} are not all in {told}."
        )
    if (0 if queue is None else len(queue)) + (0 if keys is None else len(keys) - 1) < 1:
        raise ConfigError(
            "SCE needs negatives: set queue.size and queue.feature_dim, or use_keys=true with more than one sample; "
            f"got {told}."
        )
