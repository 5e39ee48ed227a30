"""The way of a batch from a loader worker to the process that trains.

Torch copies the tensors of a worker into shared memory, which the system clears page by page first, and passes a file
descriptor for each of them, be it a label. Here the samples of a batch are written once, as they lie in memory, into
one file that lives in memory alone, and what is small travels with the message. For clips that is less than two thirds
of the work, and `/dev/shm`, small in many containers, is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import get_worker_info

from eztorch.utils.errors import DataError

# Bytes up to which a tensor travels with the message, so that who keeps it does not keep the file of the batch.
_SMALL = 1 << 16
# Where tensors begin in the file, in bytes: a multiple of the size of every type of number.
_ALIGNMENT = 64


class Outbox:
    """Takes the tensors of one batch. In a loader worker it gives for each what will be that tensor on arrival.

    It does so where file descriptors can be passed on and files can live in memory (Linux); elsewhere, and with torch's
    sharing strategy `file_system`, torch sends the tensors.
    """

    def __init__(self) -> None:
        is_sending = get_worker_info() is not None and get_sharing_strategy() == "file_descriptor"
        self._memory = _Memory() if is_sending and hasattr(os, "memfd_create") else None

    def stack(self, tensors: Sequence[Tensor]) -> Any:
        """Stack tensors in the order that their memory has: pictures with their channels last are copied as they lie.

        Transposing them on the way would take ten times as long as the copy.

        Args:
            tensors: Tensors of one shape.

        Returns:
            Their stack, shape (B, ...).

        Raises:
            RuntimeError: They differ in shape.
        """
        order = sorted(range(tensors[0].ndim), key=tensors[0].stride, reverse=True)
        parts = [tensor.permute(order) for tensor in tensors]
        back = (0, *(1 + order.index(dim) for dim in range(len(order))))
        if self._memory is None or any(part.shape != parts[0].shape or part.dtype != parts[0].dtype for part in parts):
            return torch.stack(parts).permute(back)
        return _Sent(self._memory, parts, (len(parts), *parts[0].shape), back)

    def send(self, tensor: Tensor) -> Any:
        """Send a tensor."""
        return tensor if self._memory is None else _Sent(self._memory, [tensor], tensor.shape, range(tensor.ndim))


class _Sent:
    """A tensor, once it is unpickled: `parts` one behind the other, in a shape whose dimensions are then permuted."""

    def __init__(self, memory: _Memory, parts: Iterable[Tensor], shape: Sequence[int], back: Sequence[int]) -> None:
        rows = [part.detach().contiguous().view(-1) for part in parts]
        content: list[NDArray[Any]] = [row.view(torch.uint8).numpy() for row in rows]
        is_small = sum(row.nbytes for row in content) <= _SMALL
        self._bytes = (b"".join(row.tobytes() for row in content),) if is_small else (memory, memory.write(content))
        self._tensor = rows[0].dtype, tuple(shape), tuple(back)

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        return _arrived, (self._bytes, *self._tensor)


class _Memory:
    """A file in memory: written in a worker, and once it is unpickled a tensor of its bytes, shape (N,)."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._size = 0

    def write(self, content: Iterable[NDArray[Any]]) -> int:
        """Append arrays; return where they begin."""
        if self._file is None:
            self._file = os.memfd_create("eztorch-batch")
        begin = self._size
        with open(self._file, "wb", closefd=False) as file:
            for row in content:
                self._size += file.write(row.data)
            self._size += file.write(bytes(-self._size % _ALIGNMENT))
        return begin

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        from multiprocessing.reduction import DupFd  # which Windows does not have

        assert self._file is not None
        passed = DupFd(self._file)
        os.close(self._file)
        return _mapped, (passed, self._size)


def _mapped(passed: Any, size: int) -> Tensor:
    try:
        file = passed.detach()
    except (EOFError, ConnectionError, FileNotFoundError) as error:  # what these say names neither worker nor batch
        raise DataError(
            "A loader worker ended before the batch that it had read arrived: it crashed, or was killed, perhaps for "
            "want of memory. With num_workers=0 the error of a crash is seen."
        ) from error
    try:
        return torch.from_file(f"/proc/self/fd/{file}", shared=True, size=size, dtype=torch.uint8)
    finally:
        os.close(file)


def _arrived(
    sent: tuple[bytes] | tuple[Tensor, int], dtype: torch.dtype, shape: Sequence[int], back: Sequence[int]
) -> Tensor:
    size = torch.Size(shape).numel() * dtype.itemsize
    if isinstance(sent[0], Tensor):
        content = sent[0].narrow(0, sent[1], size)
    else:
        content = torch.frombuffer(bytearray(sent[0]), dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
    return content.view(dtype).view(shape).permute(*back)
