"""Batches that do not fit: features first, then their gradients back through the networks part by part.

Paper: https://arxiv.org/abs/2101.06983 (section 3). A contrastive loss needs the features of the whole batch at once,
but not the activations behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from eztorch.utils.errors import ConfigError

if TYPE_CHECKING:
    from eztorch.models.siamese.base import Scalars, SiameseModel
    from eztorch.models.siamese.features import Features


class CachedStep(NamedTuple):
    """What a training step goes on with.

    Attributes:
        loss: Shape (); its backward pass adds the gradient of the last part to those of the parts before.
        scalars: The other scalars of the loss.
        queries: Features of the whole batch, detached.
    """

    loss: Tensor
    scalars: Scalars
    queries: dict[int, Features]


def cached_step(
    model: SiameseModel, views: Sequence[Tensor], keys: Mapping[int, Tensor], batch: Mapping[str, Any], *, size: int
) -> CachedStep:
    """Compute the loss of a batch with the activations of one part of it at a time; the gradients are the same.

    The networks see each part twice, with the same random numbers: once without gradients, for the features of the
    batch and the gradient of the loss with respect to them, and once to bring that gradient to the weights. Batch
    normalisations see parts, not the batch, and count each once.

    Args:
        model: Encodes the query views and knows the loss.
        views: Views of the batch, each of shape (B, ...).
        keys: What the queries are compared with.
        batch: The batch.
        size: Samples of a part.
    """
    parts = list(zip(*(view.split(size) for view in views), strict=True))
    device = views[0].device
    states, encoded = [], []
    with torch.no_grad(), _buffers_kept(model):
        for part in parts:
            states.append(_random_state(device))
            encoded.append(model.encode_queries(part))
    torch.clear_autocast_cache()  # older torch keeps weights there that were cast without a way back to the parameters
    queries = {view: _joined([part[view] for part in encoded]) for view in encoded[0]}
    leaves = [x for features in queries.values() for x in (features.z, features.q)]
    loss, scalars = model.compute_loss(queries, keys, batch)
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)

    rows = [None if gradient is None else gradient.split(size, dim=1) for gradient in gradients]
    after = _random_state(device)
    surrogate = loss.detach()
    for number, (part, state) in enumerate(zip(parts, states, strict=True)):
        _set_random_state(state, device)
        features = model.encode_queries(part)
        outputs = [x for one in features.values() for x in (one.z, one.q)]
        inner = torch.stack([(x * g[number]).sum() for x, g in zip(outputs, rows, strict=True) if g is not None]).sum()
        if number < len(parts) - 1:
            _backward(model, inner)
        else:
            surrogate = surrogate + (inner - inner.detach())
    _set_random_state(after, device)
    detached = {view: type(features)(*(x.detach() for x in features)) for view, features in queries.items()}
    return CachedStep(surrogate, scalars, detached)


def checked_size(size: int | None) -> int | None:
    """Return the samples of a part.

    Raises:
        ConfigError: It is not a positive number.
    """
    if size is not None and size < 1:
        raise ConfigError(f"gradient_cache_size={size}; expected a positive number of samples, or null for none.")
    return size


def _backward(model: SiameseModel, loss: Tensor) -> None:
    """Add gradients as Lightning would: scaled by the precision, divided by the accumulated batches.

    The step runs inside the forward pass of `DistributedDataParallel`, which begins to wait for gradients when that is
    over: only the last part, whose backward pass follows it, is averaged over the processes, with all that it adds to.
    """
    trainer = model.trainer
    scaled = trainer.strategy.precision_plugin.pre_backward(loss / trainer.accumulate_grad_batches, model)
    scaled.backward()


def _joined(parts: Sequence[Features]) -> Features:
    """Put the features of the parts together along the batch, as leaves of a graph of their own."""
    kind = type(parts[0])
    return kind(*(torch.cat(list(column), dim=1).requires_grad_() for column in zip(*parts, strict=True)))


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put back the buffers of the networks, such as the statistics of batch normalisations."""
    kept = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        yield
    finally:
        for buffer, value in kept.items():
            buffer.copy_(value)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
