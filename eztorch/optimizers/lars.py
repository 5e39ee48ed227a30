"""LARS with fused multi-tensor steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from eztorch.utils.errors import ConfigError

# Parameters are updated in buckets of at most so many elements (or of one larger tensor), so that what is computed on
# the way stays small. On a CPU it then stays in the cache; elsewhere more buckets would only mean more launches.
_CPU_BUCKET_SIZE = 2**20
_BUCKET_SIZE = 2**24

Tensors = list[Tensor] | tuple[Tensor, ...]


class LARS(Optimizer):
    r"""Layer-wise adaptive rate scaling.

    The form that self-supervised recipes use: momentum as in SGD, no Nesterov, the learning rate outside the buffer.
    For a tensor with two or more dimensions (Large Batch Training of Convolutional Networks, arXiv 1708.03888, eq. 6):

        d  = g + weight_decay * p
        q  = trust_coefficient * ||p|| / ||d||        (1 if either norm is 0)
        mu = momentum * mu + q * d
        p  = p - lr * mu

    Tensors with one dimension or none, biases and norm parameters, have neither weight decay nor `q`.

    All tensors of a bucket are updated by the same few calls, in place, and nothing waits for the device. Gradients are
    left as they are. The norms of half-precision tensors are computed in float32.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        weight_decay: Factor of the weights in the update.
        momentum: Factor of the last update, in [0, 1).
        trust_coefficient: Ratio of the norms of update and weights, at a learning rate of 1.

    Raises:
        ConfigError: A value is outside its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "trust_coefficient": trust_coefficient,
        }
        for name, value in defaults.items():
            if value < 0:
                raise ConfigError(f"LARS: {name}={value} must not be negative.")
        if momentum >= 1:
            raise ConfigError(f"LARS: momentum={momentum} must be below 1.")
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient.

        Args:
            closure: Evaluates the model again and returns the loss.

        Returns:
            What the closure returned, None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for bucket in _buckets(group["params"]):
                self._update(bucket, group)
        return loss

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        grads = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in params if p.grad is not None]
        for p in params:
            if "mu" not in self.state[p]:
                self.state[p]["mu"] = torch.zeros_like(p)
        buffers: list[Tensor] = [self.state[p]["mu"] for p in params]

        torch._foreach_mul_(buffers, group["momentum"])
        if params[0].ndim > 1:
            decay = group["weight_decay"]
            updates = torch._foreach_add(grads, params, alpha=decay) if decay else grads
            torch._foreach_addcmul_(buffers, updates, _trust(params, updates, group["trust_coefficient"]))
        else:
            torch._foreach_add_(buffers, grads)
        torch._foreach_add_(params, buffers, alpha=-group["lr"])


def _trust(params: Tensors, updates: Tensors, coefficient: float) -> list[Tensor]:
    """Return the factor q of every tensor, each of shape ()."""
    dtype = torch.promote_types(params[0].dtype, torch.float32)
    norms = torch.stack(torch._foreach_norm(params, 2, dtype=dtype))
    update_norms = torch.stack(torch._foreach_norm(updates, 2, dtype=dtype))
    adapted = (norms > 0) & (update_norms > 0)
    return list(torch.where(adapted, coefficient * norms / update_norms, torch.ones_like(norms)).unbind())


def _buckets(params: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Sort the parameters that have a gradient into lists of one device, one dtype and one rule."""
    open_buckets: dict[Any, list[Tensor]] = defaultdict(list)
    sizes: dict[Any, int] = defaultdict(int)
    for p in params:
        if p.grad is None:
            continue
        kind = (p.device, p.dtype, p.ndim > 1)
        limit = _CPU_BUCKET_SIZE if p.device.type == "cpu" else _BUCKET_SIZE
        if open_buckets[kind] and sizes[kind] + p.numel() > limit:
            yield open_buckets.pop(kind)
            sizes[kind] = 0
        open_buckets[kind].append(p)
        sizes[kind] += p.numel()
    yield from open_buckets.values()
