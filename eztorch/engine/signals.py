"""Jobs that are ended from outside: by a signal, or from the keyboard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from eztorch.engine.environment import say
from eztorch.engine.resume import find_checkpoint

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_TERMINATED = 128 + signal.SIGTERM  # the exit status of a command that this signal ends


@contextmanager
def ended_from_outside(trainer: Trainer, run_dir: Path) -> Iterator[None]:
    """Say from where a job goes on that is ended from outside, and let a terminated one be no success.

    Lightning leaves with status 0 behind SIGTERM. Where the signal came to all processes of the job, as from `scancel`,
    the workers of the loader end first, and what torch raises of them is no error.

    Args:
        trainer: It notes the signal.
        run_dir: Where the checkpoints are.

    Raises:
        SystemExit: With the status of a command that SIGTERM ended.
    """
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    try:
        yield
    except (SIGTERMException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not trainer.received_sigterm:
            raise
        say(f"Terminated.{_way_on(run_dir)}")
        raise SystemExit(_TERMINATED) from error
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            say(f"Interrupted.{_way_on(run_dir)}")
        raise


def _way_on(run_dir: Path) -> str:
    checkpoint = find_checkpoint(None, run_dir)
    return "" if checkpoint is None else f" The same command goes on from {checkpoint}."
