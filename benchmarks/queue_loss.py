"""Losses against a queue: SCE, MoCo and ReSSL as they are, against the plain formulation of each.

The plain one takes a copy of the queue, as the queue is written before the backward pass, puts all similarities side by
side, masks what is no negative and leaves the rest to softmax and autograd. Both run forward and backward, in turns in
one process, on one thread, and their losses and gradients are compared. Memory is the peak of the tensors that live at
once, as torch hands them out; what lives inside a single operation is not seen.
Goals: at most 0.9 of the plain time, a quarter of its memory, and no tensor of the size of the queue.

    python benchmarks/queue_loss.py
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eztorch.losses import moco_loss, ressl_loss, sce_loss

TEMP, TEMP_M, COEFF = 0.1, 0.05, 0.5
LossOfQuery = Callable[[Tensor, Tensor, Tensor], Tensor]


def plain_moco(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """MoCo's algorithm 1."""
    logits = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.clone().T], dim=1) / TEMP
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long))


def plain_sce(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """SCE: the positive first, masked out of the relations."""
    queue = queue.clone()
    own = torch.cat([torch.ones(len(query), 1), torch.zeros(len(query), len(queue))], dim=1)
    online = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T], dim=1) / TEMP
    target = torch.cat([(key * key).sum(dim=1, keepdim=True), key @ queue.T], dim=1) / TEMP_M
    relations = target.masked_fill(own.bool(), -torch.inf).softmax(dim=1)
    return F.cross_entropy(online, COEFF * own + (1 - COEFF) * relations)


def plain_ressl(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """ReSSL: relations alone."""
    queue = queue.clone()
    return F.cross_entropy(query @ queue.T / TEMP, (key @ queue.T / TEMP_M).softmax(dim=1))


def fused_moco(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """What the product does."""
    return moco_loss(query, key, temp=TEMP, queue=queue)


def fused_sce(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """What the product does."""
    return sce_loss(query, key, temp=TEMP, temp_m=TEMP_M, coeff=COEFF, queue=queue)


def fused_ressl(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """What the product does."""
    return ressl_loss(query, key, temp=TEMP, temp_m=TEMP_M, queue=queue)


LOSSES: dict[str, tuple[LossOfQuery, LossOfQuery]] = {
    "SCE": (plain_sce, fused_sce),
    "MoCo": (plain_moco, fused_moco),
    "ReSSL": (plain_ressl, fused_ressl),
}


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make while it is entered, and that are alive at once.

    Attributes:
        peak: Most bytes at once.
        largest: Bytes of the largest tensor.
    """

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self._known = {x.untyped_storage()._cdata for x in known}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in self._known:
                storage = tensor.untyped_storage()
                self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
                self.largest = max(self.largest, storage.nbytes())
        self._alive = {key: (ref, size) for key, (ref, size) in self._alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return out


def step(loss: LossOfQuery, query: Tensor, key: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient to the query."""
    leaf = query.detach().requires_grad_()
    value = loss(leaf, key, queue)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def main() -> None:
    """Measure each loss, and print both ratios and the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--queue", type=int, default=32768)
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    query, key, queue = (
        F.normalize(torch.randn(rows, options.dim), dim=1) for rows in (options.batch, options.batch, options.queue)
    )
    print(f"queue {options.queue} x {options.dim}, {queue.nbytes / 1e6:.1f} MB; batch {options.batch}; one thread")
    for name, (plain, fused) in LOSSES.items():
        steps = [functools.partial(step, loss, query, key, queue) for loss in (plain, fused)]
        seconds: list[list[float]] = [[], []]
        for _ in range(options.repetitions):
            for run, times in zip(steps, seconds, strict=True):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
        memories = [LiveMemory(query, key, queue) for _ in steps]
        results = []
        for run, memory in zip(steps, memories, strict=True):
            with memory:
                results.append(run())
        slow, fast = (statistics.median(times) for times in seconds)
        (plain_loss, plain_gradient), (fused_loss, fused_gradient) = results
        print(
            f"{name:6} time {slow * 1e3:6.1f} and {fast * 1e3:6.1f} ms, ratio {fast / slow:.2f} (goal: at most 0.9); "
            f"memory {memories[0].peak / 1e6:5.1f} and {memories[1].peak / 1e6:4.1f} MB, "
            f"ratio {memories[1].peak / memories[0].peak:.2f} (goal: at most 0.25)"
        )
        copied = "no copy of the queue" if memories[1].largest < queue.nbytes else "THE QUEUE IS COPIED"
        print(
            f"{'':6} {copied}: the largest tensor has {memories[1].largest / 1e6:.1f} MB; largest differences: "
            f"loss {float((plain_loss - fused_loss).abs()):.1e} of {float(plain_loss):.2f}, "
            f"gradient {float((plain_gradient - fused_gradient).abs().max()):.1e} "
            f"of {float(plain_gradient.abs().max()):.1e}"
        )


if __name__ == "__main__":
    main()
