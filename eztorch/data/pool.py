"""Doing the same to many files at once, where any of them may be broken."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NoReturn, TypeVar

from eztorch.engine.job import exported
from eztorch.utils.errors import EztorchError
from eztorch.utils.machine import usable_cores

In = TypeVar("In")
Out = TypeVar("Out")

# The variables by which the libraries of numbers are told how many threads they may start.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PATIENCE_S = 5.0  # how long a process may take to tidy up when it is stopped


@dataclass(frozen=True)
class Outcome(Generic[In, Out]):
    """What became of an item.

    Attributes:
        item: The item.
        value: What the function returned; None where it failed.
        error: Why it failed, in a line; None where it did not.
        trace: The traceback of the failure, for who looks for the fault in the program.
    """

    item: In
    value: Out | None = None
    error: str | None = None
    trace: str | None = None


def add_workers_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--workers` to the arguments of a command."""
    parser.add_argument(
        "--workers",
        type=_number_of_workers,
        default=usable_cores(),
        metavar="N",
        help="processes at work, each with one thread; 0 works in this process (default: the cores, %(default)s)",
    )


def run_all(function: Callable[[In], Out], items: Iterable[In], *, workers: int) -> Iterator[Outcome[In, Out]]:
    """Call a function on every item, in processes of their own, and give the outcomes as they come.

    What the function raises, or a process that a broken file takes down with it, is the outcome of that item: the
    others go on. When the iteration is ended early the processes are stopped, after their `finally` blocks.

    Args:
        function: A function of a module, since the processes import it anew.
        items: What it is called on; taken one by one as processes become free.
        workers: Number of processes, each with one thread; 0 calls the function in this process.
    """
    if workers == 0:
        for item in items:
            yield _call(function, item)
        return
    waiting, busy = iter(items), dict[Any, tuple[_Worker, In]]()
    try:
        for item in waiting:
            worker = _Worker(function)
            worker.send(item)
            busy[worker.pipe] = worker, item
            if len(busy) == workers:
                break
        while busy:
            for pipe in wait(list(busy)):
                worker, item = busy.pop(pipe)
                outcome = worker.outcome(item)
                following = next(waiting, _NOTHING)
                if following is _NOTHING:
                    worker.stop()
                else:
                    worker = worker if worker.process.is_alive() else _Worker(function)
                    busy[worker.pipe] = worker, following
                    worker.send(following)
                yield outcome
    finally:
        for worker, _ in busy.values():
            worker.process.terminate()
        for worker, _ in busy.values():
            worker.stop()


_NOTHING: Any = object()


class _Worker:
    """A process that calls a function on what it is sent."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads and locks of libraries
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with exported(dict.fromkeys(_THREADS, "1")), _deaf_to_the_keyboard():
            self.process.start()
        theirs.close()

    def send(self, item: Any) -> None:
        """Give the process an item to work on; where it has just died, `outcome` will say so."""
        with suppress(BrokenPipeError):
            self.pipe.send(item)

    def outcome(self, item: In) -> Outcome[In, Any]:
        """Return what became of the item that it was sent, once there is something to read."""
        try:
            value, error, trace = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.stop()
            code = self.process.exitcode or 0
            how = signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit status {code}"
            return Outcome(item, error=f"its process ended while it worked on it ({how})")
        return Outcome(item, value, error, trace)

    def stop(self) -> None:
        """Let the process end, which it does when its pipe is closed."""
        self.pipe.close()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _deaf_to_the_keyboard() -> Iterator[None]:
    """Start processes that never hear of an interrupt, not even while they import: the first process tells them.

    A blocked signal is inherited. An interrupt that comes meanwhile reaches this process afterwards.
    """
    resource_tracker.ensure_running()  # starting it unblocks the signal, so it has to run before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Answer what comes through a pipe until it is closed."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        while True:
            outcome = _call(function, pipe.recv())
            pipe.send((outcome.value, outcome.error, outcome.trace))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _leave(signum: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signum)


def _call(function: Callable[[In], Out], item: In) -> Outcome[In, Out]:
    try:
        return Outcome(item, function(item))
    except Exception as error:
        expected = isinstance(error, EztorchError | OSError)
        reason = " ".join(str(error).split())
        return Outcome(
            item,
            error=reason if expected and reason else f"{type(error).__name__}: {reason}",
            trace=traceback.format_exc(),
        )


def _number_of_workers(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 0 or more")
    return int(text)
