"""What the worker of a loader raised, told as if it had been raised here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from eztorch.utils.errors import DataError, EztorchError

_CAUGHT = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n")
_OURS = re.compile(
    r"^eztorch(?:\.\w+)+: ", re.MULTILINE
)  # how the line of a traceback begins that names an error of ours


@contextmanager
def worker_errors_told() -> Iterator[None]:
    """Turn an error of ours that torch brought from a worker, with its traceback, into its message alone.

    Raises:
        DataError: That message.
    """
    try:
        yield
    except (RuntimeError, EztorchError) as error:
        message = told_by_worker(str(error))
        if message is None:
            raise
        raise DataError(message) from error


def told_by_worker(text: str) -> str | None:
    r"""Return the message of an error of ours that a worker raised; None of any other.

    >>> text = "Caught DataError in DataLoader worker process 0.\nTraceback ...\neztorch.a.DataError: x.mp4 is torn\n"
    >>> told_by_worker(text)
    'x.mp4 is torn'
    """
    found = list(_OURS.finditer(text)) if _CAUGHT.match(text) else []
    return text[found[-1].end() :].strip() if found else None  # the last one was raised, those before it are its causes
