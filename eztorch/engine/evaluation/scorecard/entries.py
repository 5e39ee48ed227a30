"""The numbers of a scorecard, each with what it is over, how it came about and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eztorch.engine.evaluation.testing import COUNT

if TYPE_CHECKING:
    from eztorch.engine.run import Job

_TASK = "scorecard"
# How metrics are called where people read them; others have their own names.
_TITLES = {
    "acc_1": "top-1 accuracy",
    "acc_5": "top-5 accuracy",
    "brier": "Brier score",
    "clip_acc_1": "top-1 accuracy of single views",
    "clip_acc_5": "top-5 accuracy of single views",
    "ece": "expected calibration error",
    "loss": "loss",
    "map": "mean average precision",
    "mce": "maximum calibration error",
    "mean_class_acc": "mean accuracy of the classes",
    "nll": "negative log-likelihood",
    **{f"r_{rank}": f"R@{rank}" for rank in (1, 5, 10, 15, 20, 25)},
}
_COUNTS = ("n_evaluated", "n_expected")
# What no share is, and stands behind those that are.
_NOT_SHARES = ("loss", "nll", "brier")


@dataclass(frozen=True)
class Entry:
    """A number of a scorecard.

    Attributes:
        protocol: How it was measured, in a word or two.
        metric: What it is.
        value: The number.
        is_share: Whether it is from 0 to 1 and shown in per cent.
        n_evaluated: How many samples it is over; None where that is not said.
        n_expected: How many there are.
        settings: What it depends on: views, features, rates.
        command: Command line that repeats it.
    """

    protocol: str
    metric: str
    value: float
    is_share: bool
    n_evaluated: int | None
    n_expected: int | None
    settings: Mapping[str, Any]
    command: str

    @property
    def shown(self) -> str:
        """The value as it is read."""
        return f"{self.value:.1%}" if self.is_share else f"{self.value:.4g}"

    @property
    def over(self) -> str:
        """How many samples of how many it is over."""
        if self.n_evaluated is None:
            return ""
        return f"{self.n_evaluated} / {self.n_expected if self.n_expected is not None else '?'}"

    @property
    def how(self) -> str:
        """The settings in one line."""
        return in_one_line(self.settings)


def in_one_line(settings: Mapping[str, Any]) -> str:
    """Return settings in one line.

    >>> in_one_line({"views": 2, "input": "3 x 224 x 224"})
    'views 2, input 3 x 224 x 224'
    """
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def shared_settings(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the settings that are the same in all entries."""
    first = entries[0].settings if entries else {}
    return {name: value for name, value in first.items() if all(one.settings.get(name) == value for one in entries)}


def read_entries(
    protocol: str, prefix: str, metrics: Mapping[str, float], settings: Mapping[str, Any], command: str
) -> Iterator[Entry]:
    """Yield the entries of the metrics of a protocol, shares first.

    Args:
        protocol: How they were measured.
        prefix: What their names begin with; those of others are left out.
        metrics: Values by name, with `n_evaluated` and `n_expected` among them; other counts (`n_...`) are left out.
        settings: See `Entry`.
        command: See `Entry`.
    """
    own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    evaluated, expected = (None if own.get(name) is None else int(own[name]) for name in _COUNTS)
    titles = {name: _title(name) for name in own if not COUNT.search(name)}
    # Those of all targets together come before those of each.
    for name in sorted(titles, key=lambda name: (name.endswith(_NOT_SHARES), ": " in titles[name])):
        is_share = not name.endswith(_NOT_SHARES)
        yield Entry(protocol, titles[name], own[name], is_share, evaluated, expected, settings, command)


def _title(name: str) -> str:
    """Return what a metric is called, behind its target where it has one.

    >>> _title("clip_acc_1"), _title("verb_acc_5"), _title("purity")
    ('top-1 accuracy of single views', 'verb: top-5 accuracy', 'purity')
    """
    if name in _TITLES:
        return _TITLES[name]
    for known in sorted(_TITLES, key=len, reverse=True):
        if name.endswith(f"_{known}"):
            return f"{name.removesuffix(known)[:-1]}: {_TITLES[known]}"
    return name


def repeating_command(job: Job, task: str) -> str:
    """Return the command line of another task on what a scorecard was asked for."""
    first, second, *others = job.info.command
    words = [word for word in others if not word.lstrip("+~").startswith(f"{_TASK}.")]
    return shlex.join([first, second.replace(_TASK, task), *words])
