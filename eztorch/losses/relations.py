"""The cross-entropy that MoCo, ReSSL and SCE share: one query against its positive and many negatives.

Its targets do not depend on the query, so the gradient is known with the loss: `softmax - target`, times the keys. Both
are summed up while the negatives go by in blocks, with a running softmax (arXiv 1805.02867). So neither the queue, nor
a matrix of similarities to all of it, is ever copied or kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eztorch.utils.errors import ConfigError

# Similarities of a block: small enough for a processor's cache, large enough to keep a GPU busy with few kernels.
_BLOCK = {"cpu": 2**17, "cuda": 2**23}


def relational_cross_entropy(
    query: Tensor,
    key: Tensor,
    *,
    temp: float,
    temp_m: float,
    coeff: float,
    positive: bool = True,
    queue: Tensor | None = None,
    keys: Tensor | None = None,
    keys_offset: int = 0,
) -> Tensor:
    """Compute the mean over i of - sum over k of w_ik log p_ik, in float32 or finer.

        s_ik = exp(key_i . key_k / temp_m), divided by its sum over the negatives; 0 for the positive
        w_ik = coeff * [k is the positive] + (1 - coeff) * s_ik
        p_ik = exp(query_i . key_k / temp), divided by its sum over the negatives and, if `positive`, the positive

    Negatives are the rows of `queue`, and of `keys` all but the query's own. The gradient goes to `query` alone; the
    queue may be written before the backward pass.

    Args:
        query: Features of the online branch, shape (B, D).
        key: Features of the target branch for the same samples, the positives, shape (B, D).
        temp: Temperature of p, above 0.
        temp_m: Temperature of s, above 0; without a meaning where `coeff` is 1.
        coeff: Share of the positive in the target, from 0 to 1.
        positive: Whether p knows the positive; without it `coeff` has to be 0.
        queue: Features of earlier samples, shape (K, D).
        keys: `key` of all processes in the order of the ranks, shape (N, D), to use the batch as negatives too.
        keys_offset: Row of `keys` where `key` begins: rank * B.

    Returns:
        Mean over the batch, shape ().

    Raises:
        ConfigError: A temperature or the coefficient is out of range, or there are no negatives.
        ValueError: The shapes do not fit.
    """
    check_scalars(temp, temp_m, coeff)
    _check_shapes(query, key, queue, keys, keys_offset)
    if coeff and not positive:
        raise ValueError(f"coeff={coeff} gives the positive a share of the target, and positive=False none of p.")
    dtype = torch.promote_types(query.dtype, torch.float32)
    others = [None if x is None else x.detach().to(dtype) for x in (key, keys, queue)]
    with torch.autocast(query.device.type, enabled=False):
        losses: Tensor = _CrossEntropy.apply(query.to(dtype), *others, keys_offset, temp, temp_m, coeff, positive)
        return losses.mean()


class _CrossEntropy(torch.autograd.Function):
    """Losses of the queries, shape (B,): log z - sum of w * logits, with z the normaliser of p."""

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
        positive: bool,
    ) -> Tensor:
        own = (query * key).sum(dim=1, keepdim=True).div_(temp)
        online, target = RunningSoftmax(query), RunningSoftmax(query)
        if positive:
            online.add_own(own, key[:, None])
        for values, masked in blocks(query, keys, queue, keys_offset):
            logits = _similarities(query, values, temp, masked)
            if coeff < 1:
                target.add(_similarities(key, values, temp_m, masked), values, others=logits)
            online.add(logits, values)

        losses = online.log_normaliser() - coeff * own[:, 0]
        gradient = online.mean() - coeff * key
        if coeff < 1:
            losses.sub_(target.mean_of_others(), alpha=1 - coeff)
            gradient.sub_(target.mean(), alpha=1 - coeff)
        ctx.save_for_backward(gradient.div_(temp))
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return outer[0][:, None] * gradient, *[None] * 8


class RunningSoftmax:
    """A softmax over columns that come in blocks, and what it averages: rows of values, and other logits.

    Args:
        like: Its rows and columns are those of the average, shape (B, D).
    """

    def __init__(self, like: Tensor) -> None:
        self._top = like.new_full((len(like), 1), torch.finfo(like.dtype).min)
        self._total = like.new_zeros(len(like), 1)
        self._values = torch.zeros_like(like)
        self._others = like.new_zeros(len(like), 1)

    def add(self, logits: Tensor, values: Tensor, others: Tensor | None = None) -> None:
        """Take a block; the logits are overwritten.

        Args:
            logits: Shape (B, n).
            values: What they weigh, shape (n, D).
            others: Further numbers that they weigh, shape (B, n).
        """
        weights = self._weights(logits)
        self._total += weights.sum(dim=1, keepdim=True)
        self._values.addmm_(weights, values)
        if others is not None:
            self._others += torch.linalg.vecdot(weights, others)[:, None]

    def add_own(self, logits: Tensor, values: Tensor, others: Tensor | None = None) -> None:
        """Take columns whose values are other ones for every group of rows.

        Args:
            logits: Shape (B, n).
            values: What they weigh, shape (G, n, D): of G groups of B / G rows that follow one another.
            others: Further numbers that they weigh, shape (B, n).
        """
        weights = self._weights(logits.clone())
        self._total += weights.sum(dim=1, keepdim=True)
        groups = (len(values), -1)
        self._values.unflatten(0, groups).baddbmm_(weights.unflatten(0, groups), values)
        if others is not None:
            self._others += torch.linalg.vecdot(weights, others)[:, None]

    def log_normaliser(self) -> Tensor:
        """Return the logarithm of the sum of the exponentials, shape (B,)."""
        return (self._top + self._total.log())[:, 0]

    def mean(self) -> Tensor:
        """Return the average of the values, shape (B, D)."""
        return self._values / self._total

    def mean_of_others(self) -> Tensor:
        """Return the average of the further numbers, shape (B,)."""
        return (self._others / self._total)[:, 0]

    def _weights(self, logits: Tensor) -> Tensor:
        top = torch.maximum(self._top, logits.amax(dim=1, keepdim=True))
        scale = (self._top - top).exp_()
        for kept in (self._total, self._values, self._others):
            kept.mul_(scale)
        self._top = top
        return logits.sub_(top).exp_()


def blocks(
    query: Tensor, keys: Tensor | None, queue: Tensor | None, keys_offset: int
) -> Iterator[tuple[Tensor, int | None]]:
    """Yield blocks of negatives and, of the keys of the batch, the column of the first query's own key.

    Args:
        query: Shape (B, D); a block is as long as its similarities to all of them are few.
        keys: Shape (N, D).
        queue: Shape (K, D).
        keys_offset: Row of `keys` of the first query's own key.
    """
    rows = max(_BLOCK.get(query.device.type, _BLOCK["cuda"]) // len(query), 256)
    if keys is not None:
        for start in range(0, len(keys), rows):
            yield keys[start : start + rows], keys_offset - start
    if queue is not None:
        for start in range(0, len(queue), rows):
            yield queue[start : start + rows], None


def _similarities(features: Tensor, values: Tensor, temp: float, own: int | None) -> Tensor:
    """Return the logits of a block, shape (B, n); those of a query's own key are as low as can be."""
    logits = (features @ values.T).div_(temp)
    if own is not None and -len(features) < own < len(values):
        logits.diagonal(own).fill_(torch.finfo(logits.dtype).min)
    return logits


def check_scalars(temp: float, temp_m: float, coeff: float) -> None:
    """Refuse temperatures that are not above 0, and a share of the positives that is not from 0 to 1.

    Raises:
        ConfigError: A value is out of its range.
    """
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
            "There are no negatives: set queue.size and queue.feature_dim, or use_keys=true with more than one sample; "
            f"got {told}."
        )
