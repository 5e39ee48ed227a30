"""SCE between the tokens of sequences, as in COMEDIAN (https://arxiv.org/abs/2309.01270)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eztorch.losses.relations import RunningSoftmax, blocks, check_scalars
from eztorch.utils.errors import ConfigError


def sce_token_loss(
    query: Tensor,
    key: Tensor,
    *,
    temp: float,
    temp_m: float,
    coeff: float,
    positive_radius: int = 0,
    keep_aligned_positive: bool = True,
    normalize_positive_coeff: bool = False,
    use_keys: bool = False,
    queue: Tensor | None = None,
    keys: Tensor | None = None,
    keys_offset: int = 0,
) -> Tensor:
    """Compute the SCE loss of the tokens of the online branch against those of the target branch of the same samples.

    Token t of a query stands at the same time as token t of its key. The positives P of query token i are the tokens of
    its own key that are at most `positive_radius` away; without `keep_aligned_positive` not the token at the very same
    time, which then has no part at all. The negatives N are

        the other tokens of its own key, with `use_keys` or `keys`
        all tokens of the other samples, with `keys`
        the rows of `queue`

    The target mixes the positives, all alike, with the relations s that the target branch sees to the negatives:

        s_ik = exp(key_i . key_k / temp_m), divided by its sum over N
        w_ik = coeff_i / |P| for the positives, (1 - coeff_i) * s_ik for the negatives
        p_ik = exp(query_i . key_k / temp), divided by its sum over P and N
        loss = - mean over i of the sum over k of w_ik log p_ik

    where coeff_i is `coeff` or, with `normalize_positive_coeff`, `coeff * |P| / (|P| + 1)`. With one token and no
    radius this is `sce_loss`. The loss is computed in float32 or finer, under autocast too, without copies of the
    queue; its gradient goes to `query` alone, and the queue may be written before the backward pass.

    Args:
        query: Normalised tokens of the online branch, shape (B, T, D).
        key: Normalised tokens of the target branch for the same samples, shape (B, T, D).
        temp: Temperature of the online similarities, above 0.
        temp_m: Temperature of the target's relations, above 0; lower is sharper.
        coeff: Share of the positives in the target, from 0 (relations alone) to 1 (contrastive loss alone).
        positive_radius: Steps in time up to which a token of the own key is a positive.
        keep_aligned_positive: The token at the same time is a positive; False needs a radius.
        normalize_positive_coeff: Give tokens with fewer positives, at the ends of a sequence, a smaller share.
        use_keys: The tokens of the own key that are no positives are negatives.
        queue: Normalised tokens of earlier samples, shape (K, D).
        keys: `key` of all processes in the order of the ranks, shape (N, T, D), to use all their tokens as negatives.
        keys_offset: Row of `keys` where `key` begins: rank * B.

    Returns:
        Mean over the tokens, shape ().

    Raises:
        ConfigError: A value is out of its range, or a token has no positives or no negatives.
        ValueError: The shapes do not fit.

    >>> tokens, queue = torch.eye(4)[None, :2], torch.eye(4)[2:]
    >>> sce_token_loss(tokens, tokens, temp=1.0, temp_m=1.0, coeff=1.0, queue=queue)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    >>> sce_token_loss(tokens, tokens, temp=1.0, temp_m=1.0, coeff=1.0, use_keys=True)  # log(1 + exp(-1))
    tensor(0.3133)
    """
    check_scalars(temp, temp_m, coeff)
    _check_shapes(query, key, queue, keys, keys_offset)
    tokens, samples = query.shape[1], 1 if keys is None else len(keys)
    within = use_keys or keys is not None
    check_positives(
        tokens,
        positive_radius=positive_radius,
        keep_aligned_positive=keep_aligned_positive,
        within=within,
        further=(samples - 1) * tokens + (0 if queue is None else len(queue)),
    )
    positives, negatives = _own_tokens(tokens, positive_radius, keep_aligned_positive, query.device)
    dtype = torch.promote_types(query.dtype, torch.float32)
    count = positives.sum(dim=1, keepdim=True).to(dtype)
    shares = coeff * count / (count + 1) if normalize_positive_coeff else torch.full_like(count, coeff)
    others = [None if x is None else x.detach().to(dtype) for x in (key, keys, queue)]
    with torch.autocast(query.device.type, enabled=False):
        losses: Tensor = _TokenCrossEntropy.apply(
            query.to(dtype),
            *others,
            keys_offset,
            temp,
            temp_m,
            positives * (shares / count),
            positives | negatives if within else positives,
            None if coeff == 1 and not normalize_positive_coeff else 1 - shares,
            negatives if within else None,
        )
        return losses.mean()


def sce_token_chance_level(
    num_tokens: int,
    num_further: int,
    *,
    positive_radius: int = 0,
    keep_aligned_positive: bool = True,
    within: bool = False,
) -> float:
    """Return the token loss of features that tell nothing: all similarities are equal, so p is uniform.

    Args:
        num_tokens: Tokens of a sample.
        num_further: Negatives that are no tokens of the own key.
        positive_radius: See `sce_token_loss`.
        keep_aligned_positive: See `sce_token_loss`.
        within: The tokens of the own key that are no positives are negatives.

    >>> round(sce_token_chance_level(8, 65536), 3)
    11.09
    """
    reach = [
        min(token + positive_radius, num_tokens - 1) - max(token - positive_radius, 0) + 1
        for token in range(num_tokens)
    ]
    known = [(num_tokens if within else near) - (not keep_aligned_positive) for near in reach]
    return math.fsum(math.log(own + num_further) for own in known) / num_tokens


def check_positives(
    num_tokens: int, *, positive_radius: int, keep_aligned_positive: bool, within: bool, further: int
) -> None:
    """Refuse settings that leave a token without positives or without negatives.

    Args:
        num_tokens: Tokens of a sample.
        positive_radius: See `sce_token_loss`.
        keep_aligned_positive: See `sce_token_loss`.
        within: The tokens of the own key that are no positives are negatives.
        further: Number of other negatives.

    Raises:
        ConfigError: The radius is negative, or a token has no positives or no negatives.
    """
    if positive_radius < 0:
        raise ConfigError(f"positive_radius={positive_radius}; expected a number of tokens, 0 or more.")
    if not keep_aligned_positive and (positive_radius == 0 or num_tokens == 1):
        raise ConfigError(
            f"keep_aligned_positive=false with positive_radius={positive_radius} and {num_tokens} token(s) leaves no "
            "positives; write keep_aligned_positive=true, or give positive_radius and the sequence more."
        )
    if further < 1 and not (within and num_tokens > 2 * positive_radius + 1):
        raise ConfigError(
            f"There are no negatives for a token among {num_tokens} with positive_radius={positive_radius}: set "
            "queue.size and queue.feature_dim, use_all_keys=true with more than one sample, or use_keys=true with a "
            "smaller radius."
        )


class _TokenCrossEntropy(torch.autograd.Function):
    """Losses of the tokens, shape (B, T): log z - sum of w * logits, with z the normaliser of p."""

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
        positives: Tensor,
        known: Tensor,
        rest: Tensor | None,
        negatives: Tensor | None,
    ) -> Tensor:
        """Sum up what the softmaxes of both branches average.

        Args:
            ctx: Keeps the gradient.
            query: Shape (B, T, D).
            key: Shape (B, T, D).
            keys: Shape (N, T, D).
            queue: Shape (K, D).
            keys_offset: Row of `keys` where `key` begins.
            temp: Temperature of the query's similarities.
            temp_m: Temperature of the key's.
            positives: Weights of the own key's tokens as positives, shape (T, T).
            known: Which of the own key's tokens p knows, shape (T, T).
            rest: Share of the relations in the target of each token, shape (T, 1); None for none.
            negatives: Which of the own key's tokens are negatives, shape (T, T); None for none.
        """
        samples, tokens, _ = query.shape
        rows, targets = query.flatten(0, 1), key.flatten(0, 1)
        own = (query @ key.mT).div_(temp)
        online, target = RunningSoftmax(rows), RunningSoftmax(rows)
        online.add_own(_only(own, known), key)
        if rest is not None and negatives is not None:
            target.add_own(_only((key @ key.mT).div_(temp_m), negatives), key, others=own.flatten(0, 1))
        everyone = None if keys is None else keys.flatten(0, 1)
        for values, first in blocks(rows, everyone, queue, keys_offset * tokens):
            masked = None if first is None else _own_columns(samples, tokens, first, values)
            logits = (rows @ values.T).div_(temp)
            if rest is not None:
                relations = (targets @ values.T).div_(temp_m)
                target.add(_masked(relations, masked), values, others=logits)
            online.add(_masked(logits, masked), values)

        losses = online.log_normaliser().view(samples, tokens) - (positives * own).sum(dim=2)
        gradient = online.mean().view_as(query) - positives @ key
        if rest is not None:
            losses -= rest[:, 0] * target.mean_of_others().view(samples, tokens)
            gradient -= rest * target.mean().view_as(query)
        ctx.save_for_backward(gradient.div_(temp))
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return outer[0][:, :, None] * gradient, *[None] * 10


def _own_tokens(tokens: int, radius: int, keep_aligned: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Say which tokens of the own key are positives and which negatives of each token, shapes (T, T)."""
    times = torch.arange(tokens, device=device)
    distance = (times[:, None] - times).abs()
    near = distance <= radius
    return near if keep_aligned else near & (distance > 0), ~near


def _only(logits: Tensor, kept: Tensor) -> Tensor:
    """Return logits of the own tokens as rows, shape (B * T, T), as low as can be where they are not kept."""
    return logits.masked_fill(~kept, torch.finfo(logits.dtype).min).flatten(0, 1)


def _own_columns(samples: int, tokens: int, first: int, values: Tensor) -> Tensor:
    """Say which columns of a block are tokens of a row's own key, shape (B * T, n).

    Args:
        samples: B.
        tokens: T.
        first: Column of the first token of the first row's own key; it may lie outside of the block.
        values: The block, shape (n, D).
    """
    of_row = torch.arange(samples * tokens, device=values.device) // tokens
    of_column = torch.div(torch.arange(len(values), device=values.device) - first, tokens, rounding_mode="floor")
    return of_row[:, None] == of_column


def _masked(logits: Tensor, masked: Tensor | None) -> Tensor:
    return logits if masked is None else logits.masked_fill_(masked, torch.finfo(logits.dtype).min)


def _check_shapes(query: Tensor, key: Tensor, queue: Tensor | None, keys: Tensor | None, keys_offset: int) -> None:
    shapes = {"query": query, "key": key, "queue": queue, "keys": keys}
    told = ", ".join(f"{name} {tuple(x.shape)}" for name, x in shapes.items() if x is not None)
    if (
        query.ndim != 3
        or query.shape != key.shape
        or (queue is not None and queue.shape[1:] != query.shape[2:])
        or (keys is not None and keys.shape[1:] != query.shape[1:])
    ):
        raise ValueError(f"query and key are (B, T, D), queue (K, D), keys (N, T, D); got {told}.")
    if keys is not None and not 0 <= keys_offset <= len(keys) - len(key):
        raise ValueError(
            f"keys_offset={keys_offset}: rows {keys_offset} to {keys_offset + len(key)} are not all in {told}."
        )
