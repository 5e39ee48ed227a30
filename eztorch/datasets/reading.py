"""Reading a sample at an address, and what is done about one that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from eztorch.datasets.failures import ReadError, SampleFailure
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.utils.errors import ConfigError, DataError, EztorchError
from eztorch.utils.names import did_you_mean
from eztorch.utils.randomness import generator, run_seed

Sample = dict[str, Any]
Item = Sample | list[Sample] | SampleFailure
Indices: TypeAlias = Sequence[int] | NDArray[np.int64]

ON_ERROR = ("skip", "raise", "count_as_wrong")
# Samples in a row that may be unreadable before the last error is raised.
MAX_MISSES = 10
# Stream of random numbers of the stand-ins; at one address the transform has the address itself and clips have 1.
_STAND_IN = 2


def check_on_error(value: str) -> str:
    """Return `value` if it says what is to happen when a sample cannot be read.

    Raises:
        ConfigError: It is not one of `ON_ERROR`.
    """
    if value not in ON_ERROR:
        hint = did_you_mean(value, ON_ERROR)
        raise ConfigError(f"on_error={value!r}; expected one of {', '.join(map(repr, ON_ERROR))}.{hint}")
    return value


def split_address(address: SampleAddress | int) -> tuple[int, int]:
    """Return epoch and index of an address; an index alone means epoch 0.

    >>> split_address(SampleAddress(3, 7)), split_address(7)
    ((3, 7), (0, 7))
    """
    return (address.epoch, address.index) if isinstance(address, SampleAddress) else (0, int(address))


def stand_in(length: int, epoch: int, index: int, misses: int) -> int:
    """Draw the sample that stands in for one that cannot be read.

    Args:
        length: How many samples there are to draw from.
        epoch: Epoch of the address that was asked for.
        index: Its index.
        misses: How many could not be read at this address so far, at least 1.
    """
    draws = generator(run_seed(), epoch, index, misses, _STAND_IN)
    return int(torch.randint(length, (), generator=draws))


@contextmanager
def blaming(name: str, work: str) -> Iterator[None]:
    """Let the errors of what is done to a sample name it.

    Args:
        name: What messages call the sample, its path where it has one.
        work: What is done, for an error that is none of ours.

    Raises:
        RuntimeError: Such an error.

    >>> with blaming("cat.png", "it was transformed"):
    ...     1 / 0
    Traceback (most recent call last):
    RuntimeError: cat.png: ZeroDivisionError while it was transformed: division by zero
    """
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"{name}: {error}") from error
    except EztorchError:
        raise
    except Exception as error:  # whatever a transform or a decoder of one's own raises
        raise RuntimeError(f"{name}: {type(error).__name__} while {work}: {error}") from error


def read_item(
    read: Callable[[int, tuple[int, ...]], list[Sample]],
    address: SampleAddress | int,
    stand_ins: Indices,
    *,
    label: Callable[[int], Any],
    training: bool,
    on_error: str,
) -> Item:
    """Read the item of an address, or do what `on_error` says where that is impossible.

    `raise` raises the error. The others give the failure itself in evaluation, where nothing ever stands in for a
    sample; in training they give another sample, drawn by the address, with the failures in its `failures`.

    Args:
        read: From an index and the address that seeds what is drawn to the samples of an item.
        address: What was asked for.
        stand_ins: Indices that another sample is drawn from.
        label: From an index to the label of its sample, known without reading it; for the failures.
        training: Whether another sample may stand in.
        on_error: One of `ON_ERROR`.

    Raises:
        ReadError: `on_error` is `raise`, or `MAX_MISSES` samples in a row cannot be read.
    """
    epoch, index = split_address(address)
    failures: list[SampleFailure] = []
    while True:
        chosen = index
        if failures:
            chosen = int(stand_ins[stand_in(len(stand_ins), epoch, index, len(failures))])
        try:
            samples = read(chosen, (run_seed(), epoch, index, len(failures)))
        except ReadError as error:
            is_wrong = on_error == "count_as_wrong"
            failures.append(
                SampleFailure(chosen, error.path, error.decoder, error.reason, epoch, label(chosen), is_wrong)
            )
            if on_error == "raise" or len(failures) == MAX_MISSES:
                raise
            if not training:
                return failures[0]
        else:
            if failures:
                samples[0] = {**samples[0], "failures": failures}
            return samples[0] if len(samples) == 1 else samples
