"""How far a command is: a bar on a terminal, now and then a line elsewhere. Both go to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

_SECONDS_BETWEEN_LINES = 15.0


class Progress(Protocol):
    """Where a command says how far it is."""

    def advance(self, number: int = 1) -> None:
        """Count so many more as done."""

    def say(self, text: str) -> None:
        """Write a line, above the bar where there is one."""


@contextmanager
def progress(what: str, total: int, unit: str = "files") -> Iterator[Progress]:
    """Show how many of a number of things are done, how many a second, and the time that is left.

    Args:
        what: What is being done, a word or two.
        total: Number of things to do.
        unit: What they are.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        lines = _Lines(what, total, unit)
        yield lines
        lines.finish()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(unit))
    with RichProgress(*columns, console=console) as bar:
        yield _Bar(bar, bar.add_task(what, total=total))


class _Bar:
    def __init__(self, bar: RichProgress, task: int) -> None:
        self._bar, self._task = bar, task

    def advance(self, number: int = 1) -> None:
        self._bar.advance(self._task, number)  # type: ignore[arg-type]  # a task id is an int

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, soft_wrap=True)


class _RateColumn(TextColumn):
    def __init__(self, unit: str) -> None:
        super().__init__("")
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(rate_and_rest(task.completed, task.total or 0, task.elapsed or 0, self._unit))


class _Lines:
    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = self._told = 0
        self._start = self._spoken = time.monotonic()

    def advance(self, number: int = 1) -> None:
        self._done += number
        if time.monotonic() - self._spoken >= _SECONDS_BETWEEN_LINES:
            self._tell()

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def finish(self) -> None:
        if self._done > self._told:
            self._tell()

    def _tell(self) -> None:
        self._spoken, self._told = time.monotonic(), self._done
        rest = rate_and_rest(self._done, self._total, self._spoken - self._start, self._unit)
        self.say(f"{self._what}: {self._done} of {self._total} {self._unit}, {rest}")


def rate_and_rest(done: float, total: float, seconds: float, unit: str) -> str:
    """Say how many are done a second, and how long the others take; at the end, how long it took.

    >>> rate_and_rest(30, 90, 10, "files")
    '3 files/s, 20 s left'
    >>> rate_and_rest(90, 90, 3605, "files")
    '1.5 files/min, took 1 h 00 min'
    """
    if not done:
        return ""
    speed = done / max(seconds, 1e-9)
    rate = f"{speed:.3g} {unit}/s" if speed >= 0.1 else f"{60 * speed:.2g} {unit}/min"
    if done >= total:
        return f"{rate}, took {duration(seconds)}"
    return f"{rate}, {duration((total - done) / speed)} left"


def duration(seconds: float) -> str:
    """Write seconds as people say them.

    >>> [duration(s) for s in (0.31, 59, 61, 3605, 90000)]
    ['0.3 s', '59 s', '1 min 01 s', '1 h 00 min', '25 h 00 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
