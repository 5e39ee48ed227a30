"""A composed job: its facts, its files in the run directory, and how it is handed to other processes."""

from __future__ import annotations

import os
import pickle
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from eztorch.utils.errors import ConfigError

# Names the file from which a process takes its job instead of composing one.
JOB_VARIABLE = "EZTORCH_JOB"


class Difference(NamedTuple):
    """A key that does not have the value of the recipe, both values as text."""

    key: str
    recipe: str
    run: str


@dataclass(frozen=True)
class JobInfo:
    """What was asked on the command line.

    Attributes:
        task: Name of the task.
        command: The command line that repeats the job, word by word.
        overrides: Its overrides.
        recipe: Name of the experiment.
        differences: Keys that the overrides changed in the experiment.
        cwd: Working directory of the command.
        script: Script that was called; None for the installed command.
    """

    task: str
    command: tuple[str, ...]
    overrides: tuple[str, ...]
    recipe: str
    differences: tuple[Difference, ...]
    cwd: str
    script: str | None = None


@dataclass(frozen=True)
class JobSpec:
    """A job that is composed and not yet run.

    Attributes:
        config: Resolved configuration, plain mappings and lists, without the `hydra` node.
        run_dir: Run directory, absolute.
        info: What was asked on the command line.
    """

    config: dict[str, Any]
    run_dir: Path
    info: JobInfo


@dataclass(frozen=True)
class Program:
    """How the command line was called.

    Attributes:
        task: Name of the task.
        script: The script (`run/pretrain.py`), None for the installed command.
    """

    task: str
    script: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """How a person starts it."""
        return ("eztorch", self.task) if self.script is None else ("python", self.script)

    @property
    def start(self) -> tuple[str, ...]:
        """How another process starts it, with the interpreter of this one."""
        if self.script is None:
            return (sys.executable, "-m", "eztorch", self.task)
        return (sys.executable, os.path.abspath(self.script))


@contextmanager
def job_file(job: JobSpec, argv: Sequence[str]) -> Iterator[dict[str, str]]:
    """Keep a job in a file for other processes as long as the block lasts.

    Args:
        job: The job.
        argv: Command line behind the task of the processes that the job is for. A process with another command line,
            such as an evaluation that a callback starts, does not take it.

    Yields:
        The environment variable that leads a process to the job.
    """
    # Pickle and not YAML: what is read back is what was written, keys that are numbers and infinities included.
    handle, name = tempfile.mkstemp(prefix="eztorch-job-", suffix=".pickle")
    try:
        with os.fdopen(handle, "wb") as file:
            pickle.dump((tuple(argv), job), file)
        yield {JOB_VARIABLE: name}
    finally:
        os.unlink(name)


def inherited_job(task: str, argv: Sequence[str]) -> JobSpec | None:
    """Return the job that the process which started this one composed for it; None when there is none.

    Args:
        task: Name of the task.
        argv: Command line behind the task.
    """
    name = os.environ.get(JOB_VARIABLE)
    if name is None or not os.path.exists(name):
        return None
    with open(name, "rb") as file:
        owner, job = pickle.load(file)
    return job if (job.info.task, owner) == (task, tuple(argv)) else None


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block and put the old ones back after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def unwritable_told(run_dir: Path) -> Iterator[None]:
    """Turn what the system says of a run directory that cannot be made or written into an error of ours.

    Raises:
        ConfigError: It says so.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(f"The run directory {run_dir} cannot be written: {error.strerror}.") from error


def write_run_files(job: JobSpec) -> None:
    """Write `config.yaml`, `overrides.yaml` and `command.txt` into the run directory, which is made if needed.

    A file of an earlier start that says something else is kept under a number: `config.1.yaml` and so on; files of
    one start share the number.
    """
    from omegaconf import OmegaConf

    info = job.info
    files = {
        "config.yaml": OmegaConf.to_yaml(OmegaConf.create(job.config)),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(info.overrides))),
        "command.txt": f"cd {shlex.quote(info.cwd)} && {shlex.join(info.command)}\n",
    }
    with unwritable_told(job.run_dir):
        job.run_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=job.run_dir).close()
    number = 1 + max((int(path.suffixes[0][1:]) for path in _kept(job.run_dir, files)), default=0)
    for name, text in files.items():
        path = job.run_dir / name
        if path.exists() and path.read_text(encoding="utf-8") != text:
            path.rename(path.with_suffix(f".{number}{path.suffix}"))
        path.write_text(text, encoding="utf-8")


def _kept(run_dir: Path, names: Mapping[str, str]) -> Iterator[Path]:
    for name in names:
        stem, suffix = name.split(".")
        yield from (path for path in run_dir.glob(f"{stem}.*.{suffix}") if path.suffixes[0][1:].isdigit())
