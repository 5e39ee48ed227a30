"""From a command line to finished jobs: what `run/*.py` and `eztorch TASK` call.

A single job runs in this process. The processes that Lightning starts for it run the same command line; they find the
job through the environment and take its configuration and run directory. Under a launcher that starts all processes
by itself (`srun`, `torchrun`) each of them composes the same job from the same command line.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import eztorch
from eztorch.engine.arguments import parse
from eztorch.engine.experiments import find_recipe, import_from_working_directory
from eztorch.engine.finished_run import experiment_of
from eztorch.engine.help import task_help
from eztorch.engine.job import JobInfo, JobSpec, Program, exported, inherited_job, job_file, write_run_files
from eztorch.engine.tasks import TASKS, Task
from eztorch.utils.errors import EztorchError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from eztorch.engine.compose import Composer

__all__ = ["JobInfo", "main", "make_job"]


def main(task: str, argv: Sequence[str] | None = None, *, script: str | None = None) -> int:
    """Run the command line of a task.

    Args:
        task: Name of the task.
        argv: What stands behind the task; None takes it from `sys.argv`.
        script: The script that was called; folders are looked up beside it too.

    Returns:
        Exit status: 0 done, 1 a job of a multirun failed, 2 the command line, the configuration or the data cannot be
        used (the reason is on standard error), 130 interrupted from the keyboard, 143 by SIGTERM.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    print_any_name()
    try:
        return _answer(TASKS[task], words, Program(task, script))
    except EztorchError as error:
        return report_error(error, f"eztorch {task}")
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        # Lightning turns an interrupt from the keyboard into its own exit, after it has closed the run.
        if isinstance(stop.__context__, KeyboardInterrupt):
            return 130
        raise


def print_any_name() -> None:
    """Let standard output take file names that are not of its encoding, as they are; their bytes need not be text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def report_error(error: EztorchError, program: str) -> int:
    """Print an error for the person at the terminal and return the exit status of a command that cannot be used."""
    print(f"{program}: error: {error}", file=sys.stderr)
    return 2


def _answer(task: Task, argv: list[str], program: Program) -> int:
    arguments = parse(argv)
    if arguments.help or arguments.version:
        print(task_help(task) if arguments.help else eztorch.__version__)
        return 0
    inherited = inherited_job(task.name, argv)
    if inherited is not None:
        _run(task, inherited, argv, inherited=True)
        return 0

    from eztorch.engine.compose import Composer, refuse_unused, replace_gpus

    if task.evaluates:
        arguments = experiment_of(arguments, task.name)
    recipe = find_recipe(arguments, task.name, script=program.script)
    overrides, warning = replace_gpus(arguments.overrides)
    if warning is not None and _is_first_process():
        print(f"eztorch {task.name}: warning: {warning}", file=sys.stderr)
    if arguments.cfg is not None:
        composer = Composer(recipe, task.name)
        config = composer.compose(overrides)
        print(composer.show(config, arguments.cfg, package=arguments.package, resolve=arguments.resolve), end="")
        return 0
    composer = Composer(recipe, task.name, launcher=_launcher())
    if arguments.multirun:
        from eztorch.engine.sweep import run_sweep

        return run_sweep(composer, overrides, arguments, program)
    config = composer.compose(overrides)
    refuse_unused(config, multirun=False)
    job = make_job(composer, config, overrides, (*program.words, *argv), program)
    with ExitStack() as stack:
        if arguments.dry_run:
            from eztorch.engine.rehearsal import rehearsal

            _show_log()
            job = stack.enter_context(rehearsal(job))
        _run(task, job, argv)
    return 0


def make_job(
    composer: Composer, config: DictConfig, overrides: Sequence[str], command: Sequence[str], program: Program
) -> JobSpec:
    """Make the job of a composed configuration, whose run directory is the one that the configuration gives.

    Args:
        composer: What composed the configuration.
        config: The configuration, references not yet resolved.
        overrides: The overrides in it.
        command: The command line that repeats the job.
        program: How it was called.
    """
    differences = composer.differences(config)
    run_dir = composer.run_dir(config)
    info = JobInfo(
        program.task, tuple(command), tuple(overrides), composer.recipe.name, differences, os.getcwd(), program.script
    )
    return JobSpec(composer.resolve(config, run_dir), run_dir, info)


def _run(task: Task, job: JobSpec, argv: Sequence[str], *, inherited: bool = False) -> None:
    """Run a job in this process, and let the processes that it starts find it."""
    _show_log()
    import_from_working_directory()
    if _is_first_process():
        write_run_files(job)
    runner = task.load()
    with ExitStack() as stack:
        if not inherited:
            stack.enter_context(exported(stack.enter_context(job_file(job, argv))))
        runner(job.config, task.name, job.run_dir, job=job.info)


def _show_log() -> None:
    """Let what eztorch says reach the terminal, unless the program around it has set its own logging up."""
    logger = logging.getLogger("eztorch")
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)


def _is_first_process() -> bool:
    from eztorch.engine.environment import is_first_process

    return is_first_process()


def _launcher() -> str | None:
    """Return what started several processes of this command line, None when this is the only one."""
    from eztorch.engine.environment import slurm_tasks, torchrun_tasks

    torchrun = torchrun_tasks()
    if torchrun is not None and torchrun[1] > 1:
        return "torchrun"
    slurm = slurm_tasks()
    if slurm is not None and slurm.tasks > 1:
        return "srun"
    # Lightning's way of naming the nodes when a person starts the command on each of them.
    return "each node" if "NODE_RANK" in os.environ else None
