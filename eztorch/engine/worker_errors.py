"""What others raised, a loader's worker, another process of the run, or Lightning, told in a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from eztorch.utils.errors import ConfigError, DataError, EztorchError

_CAUGHT = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\n")
_OURS = re.compile(
    r"^eztorch(?:\.\w+)+: ", re.MULTILINE
)  # how the line of a traceback begins that names an error of ours

_LOST = re.compile(r"Connection (closed|reset) by peer")  # by gloo
_PEER_LEFT = "another process of this run has ended; what it says is the reason."


@contextmanager
def worker_errors_told() -> Iterator[None]:
    """Turn an error of ours that torch brought from a worker, with its traceback, into its message alone.

    Where another process of the run has ended, this one ends at the next exchange: its traceback would hide the reason,
    which the other has told. What Lightning refuses, such as a checkpoint by a metric that there is not, is an error of
    the configuration.

    Raises:
        DataError: That message.
        ConfigError: That of Lightning.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    except (RuntimeError, EztorchError) as error:
        message = _PEER_LEFT if _LOST.search(str(error)) else told_by_worker(str(error))
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
