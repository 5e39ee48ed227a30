"""What others raised, a loader's worker, another process of the run, or Lightning, told in a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from eztorch.utils.errors import ConfigError, DataError, EztorchError

_CAUGHT = re.compile(r"Caught \w+ in (DataLoader worker process|pin memory thread for device) \d+\.\n")
_OURS = re.compile(
    r"^eztorch(?:\.\w+)+: ", re.MULTILINE
)  # how the line of a traceback begins that names an error of ours

# A worker that ends without a word: torch tells which, and of a signal by which.
_DIED = re.compile(r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (exited unexpectedly|is killed by signal: [^.]+)")
_LOST = re.compile(r"Connection (closed|reset) by peer")  # by gloo
_PEER_LEFT = "another process of this run has ended; what it says is the reason."


@contextmanager
def foreign_errors_told() -> Iterator[None]:
    """Turn an error of ours that torch brought from a worker, with its traceback, into its message alone.

    Where another process of the run has ended, this one ends at the next exchange: its traceback would hide the reason,
    which the other has told. What Lightning refuses, such as a checkpoint by a metric that there is not, is an error of
    the configuration.

    Raises:
        DataError: That message.
        ConfigError: That of Lightning.
    """
    try:
        yield
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise told from error


def _told(error: Exception) -> EztorchError | None:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    refused = isinstance(error, ValueError | RuntimeError) and _raised_by_lightning(error)
    if refused or isinstance(error, MisconfigurationException):
        return ConfigError(str(error).strip())
    if not isinstance(error, RuntimeError | EztorchError):
        return None
    died = _DIED.search(str(error))
    if died is not None:
        return DataError(
            f"{died[0]}: it crashed, or was killed, perhaps for want of memory. With num_workers=0 the error of a "
            "crash is seen."
        )
    message = _PEER_LEFT if _LOST.search(str(error)) else told_by_worker(str(error))
    return None if message is None else DataError(message)


def _raised_by_lightning(error: Exception) -> bool:
    """Say whether the line that raised an error is Lightning's own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("lightning.")


def told_by_worker(text: str) -> str | None:
    r"""Return the message of an error of ours that a worker raised; None of any other.

    >>> text = "Caught DataError in DataLoader worker process 0.\nTraceback ...\neztorch.a.DataError: x.mp4 is torn\n"
    >>> told_by_worker(text)
    'x.mp4 is torn'
    """
    found = list(_OURS.finditer(text)) if _CAUGHT.match(text) else []
    return text[found[-1].end() :].strip() if found else None  # the last one was raised, those before it are its causes
