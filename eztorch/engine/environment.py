"""Where a job runs: the processes that a launcher started, the machine, the versions, the state of the code."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eztorch.utils.errors import ConfigError

_log = logging.getLogger("eztorch")
_PACKAGES = (
    "eztorch", "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchaug", "pytorchvideo", "av",
    "torchcodec", "decord", "torchmetrics", "numpy", "scikit-learn",
)  # fmt: skip


@dataclass(frozen=True)
class SlurmTasks:
    """The tasks of the SLURM step that this process belongs to.

    Attributes:
        tasks: Number of tasks of the step.
        nodes: Number of nodes that they stand on.
        rank: This task among them.
    """

    tasks: int
    nodes: int
    rank: int

    @property
    def per_node(self) -> int:
        """Tasks on each node.

        Raises:
            ConfigError: The tasks are spread unevenly.
        """
        if self.tasks % self.nodes:
            raise ConfigError(
                f"SLURM started {self.tasks} tasks on {self.nodes} nodes, which is not the same number on each; "
                "ask for --ntasks-per-node=N."
            )
        return self.tasks // self.nodes


def slurm_tasks() -> SlurmTasks | None:
    """Return the tasks that `srun` started this process with; None outside of SLURM and in an interactive shell.

    In a job of SLURM `torchrun` may have started the processes: then their number is its own.

    Raises:
        ConfigError: The process stands in an allocation of several tasks, but `srun` did not start it, so that it is
            alone and would wait for the others for ever.
    """
    if torchrun_tasks() is not None:
        return None
    if "SLURM_NTASKS" not in os.environ or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ["SLURM_NTASKS"]))
    if tasks > 1 and "SLURM_STEP_ID" not in os.environ:
        raise ConfigError(
            f"This SLURM job has {tasks} tasks, but the command was started once, without srun. "
            "Write `srun python run/pretrain.py ...` in the batch script."
        )
    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", os.environ.get("SLURM_NNODES", "1")))
    return SlurmTasks(tasks, nodes, int(os.environ.get("SLURM_PROCID", "0")))


def torchrun_tasks() -> tuple[int, int] | None:
    """Return (processes on this node, processes in all) when torchrun started this process, else None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])


def prepare_slurm(slurm: SlurmTasks) -> None:
    """Tell Lightning what `srun -nN` leaves out: it insists on the tasks per node being in the environment."""
    os.environ["SLURM_NTASKS_PER_NODE"] = str(slurm.per_node)
    os.environ["SLURM_NTASKS"] = str(slurm.tasks)


def is_first_process() -> bool:
    """Say whether this process is rank 0, before any process group is up."""
    if torchrun_tasks() is not None:
        return int(os.environ["RANK"]) == 0
    slurm = slurm_tasks()
    if slurm is not None:
        return slurm.rank == 0
    # Lightning starts the other processes of a node with LOCAL_RANK; a person starts those of other nodes by NODE_RANK.
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK"))


def say(text: str) -> None:
    """Tell the user something, once, however many processes there are."""
    if is_first_process():
        _log.info(text)


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that a result depends on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit, branch and changed files of the repository around a folder; empty outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = (_git(folder, "status", "--porcelain") or "").splitlines()
    return {"commit": commit, "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"), "changed_files": changed}


def environment_facts() -> dict[str, Any]:
    """Return what `environment.json` records: machine, Python, packages, git state of the code and of the folder."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": gpus,
        "packages": package_versions(),
        "git": {"eztorch": git_state(Path(__file__).parent), "working_directory": git_state(Path.cwd())},
        "slurm": {k: v for k, v in os.environ.items() if k in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES")},
    }
