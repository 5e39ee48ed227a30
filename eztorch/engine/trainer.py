"""The Trainer of a job: from what the configuration asks for and what this process finds around it.

One function decides how many processes there are and refuses what cannot be; everything else follows from that number.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eztorch.engine.environment import prepare_slurm, slurm_tasks, torchrun_tasks
from eztorch.engine.foreign_errors import foreign_errors_told
from eztorch.utils.config import build, is_spec
from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count

_PRECISIONS = {16: "16-mixed", "16": "16-mixed", "bf16": "bf16-mixed", 32: "32-true", "32": "32-true"}
_HALF = "16-mixed"
_BUFFER_KEYS = {"broadcast_buffers", "forward_sync_buffers"}  # the older one warns where there is the newer one
_ENVIRONMENTS = "lightning.pytorch.plugins.environments"


@dataclass(frozen=True)
class Placement:
    """Where a job stands.

    Attributes:
        accelerator: `cpu`, `gpu` or another name that Lightning knows.
        devices: Number of devices (processes) on each node, or the list of their indices.
        num_nodes: Number of nodes.
    """

    accelerator: str
    devices: int | list[int]
    num_nodes: int

    @property
    def devices_per_node(self) -> int:
        """Number of processes on each node."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def world_size(self) -> int:
        """Number of processes in all."""
        return self.devices_per_node * self.num_nodes


def find_placement(trainer: Mapping[str, Any]) -> Placement:
    """Decide where a job stands from the `trainer` section, the machine and the launcher.

    `accelerator: auto` takes the GPUs when there are any. `devices: -1` or `auto` takes all GPUs, on the CPU the tasks
    of the launcher, else one process.

    Raises:
        ConfigError: There is no GPU where one is asked for, or the launcher started another number of processes than
            `devices x num_nodes`; the message has both numbers and says what to write.
    """
    accelerator = _accelerator(trainer.get("accelerator", "auto"))
    slurm, torchrun = slurm_tasks(), torchrun_tasks()
    num_nodes = as_count(trainer.get("num_nodes", 1), "trainer.num_nodes")
    asked = trainer.get("devices", "auto")
    tasks_per_node = slurm.per_node if slurm else torchrun[0] if torchrun else 1
    is_all = asked in (-1, "-1", "auto")
    devices = _all_devices(accelerator, tasks_per_node) if is_all else _listed_devices(asked)
    placement = Placement(accelerator, devices, num_nodes)
    if slurm is not None and slurm.tasks != placement.world_size:
        raise ConfigError(
            f"SLURM started {slurm.tasks} task(s) on {slurm.nodes} node(s), but trainer.devices={asked} and "
            f"trainer.num_nodes={num_nodes} stand for {placement.devices_per_node} x {num_nodes} = "
            f"{placement.world_size} process(es). Write `srun --nodes={num_nodes} "
            f"--ntasks-per-node={placement.devices_per_node}`, or trainer.devices={slurm.tasks // slurm.nodes} "
            f"trainer.num_nodes={slurm.nodes}."
        )
    if torchrun is not None and torchrun[1] != placement.world_size:
        raise ConfigError(
            f"torchrun started {torchrun[1]} process(es), but trainer.devices={asked} and "
            f"trainer.num_nodes={num_nodes} stand for {placement.world_size}. Write trainer.devices={torchrun[0]} "
            f"trainer.num_nodes={torchrun[1] // torchrun[0]}."
        )
    if slurm is not None:
        prepare_slurm(slurm)
    return placement


def _accelerator(asked: Any) -> str:
    import torch

    if asked == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if asked in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator={asked}, but torch finds no GPU on this machine; write trainer.accelerator=cpu "
            "(with trainer.precision=32) or trainer.accelerator=auto."
        )
    return str(asked)


def _all_devices(accelerator: str, tasks_per_node: int) -> int | list[int]:
    import torch

    if accelerator in ("gpu", "cuda"):
        return torch.cuda.device_count()
    return tasks_per_node


def _listed_devices(asked: Any) -> int | list[int]:
    try:
        if isinstance(asked, list | tuple):
            return [int(device) for device in asked]
        if isinstance(asked, str) and "," in asked:
            return [int(device) for device in asked.split(",") if device.strip()]
        devices = int(asked) if isinstance(asked, int | str) else 0
    except ValueError:
        devices = 0
    if devices < 1:
        raise ConfigError(f"trainer.devices={asked!r}; expected a positive number, a list of indices, -1 or 'auto'.")
    return devices


def build_trainer(trainer: Mapping[str, Any], placement: Placement, **arguments: Any) -> Any:
    """Build the Trainer of a job.

    Args:
        trainer: Section of the configuration.
        placement: Where the job stands.
        **arguments: What the engine gives: callbacks, loggers, the folder.

    Raises:
        ConfigError: Lightning refuses a value, or it would fail in the middle of training.
    """
    every = trainer.get("check_val_every_n_epoch")
    if every is not None:
        as_count(every, "trainer.check_val_every_n_epoch")
    spec = {key: value for key, value in trainer.items() if key != "strategy"}  # else it would be built twice
    given = trainer_arguments(trainer, placement)
    try:
        with foreign_errors_told():
            return build(spec, **given, **arguments)
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"trainer: {error}") from error


def trainer_arguments(trainer: Mapping[str, Any], placement: Placement) -> dict[str, Any]:
    """Return the arguments of the Trainer that follow from where the job stands.

    Raises:
        ConfigError: A precision or synchronised batch norm that this accelerator does not have, or no batches to
            accumulate.
    """
    as_count(trainer.get("accumulate_grad_batches", 1), "trainer.accumulate_grad_batches", at_least=1)
    precision = _PRECISIONS.get(trainer.get("precision", 32), trainer.get("precision", 32))
    if placement.accelerator == "cpu" and precision == _HALF:
        raise ConfigError(
            f"trainer.precision={trainer['precision']} needs a GPU; on the CPU write trainer.precision=32 or bf16."
        )
    several = placement.world_size > 1
    sync_batchnorm = bool(trainer.get("sync_batchnorm", False)) and several
    if sync_batchnorm and placement.accelerator == "cpu":
        raise ConfigError(
            f"trainer.sync_batchnorm=true needs GPUs, and this job is {placement.world_size} processes on the CPU; "
            "write trainer.sync_batchnorm=false."
        )
    return {
        **_plugins(trainer),
        "accelerator": placement.accelerator,
        "devices": placement.devices,
        "num_nodes": placement.num_nodes,
        "precision": precision,
        "strategy": _strategy(trainer.get("strategy", "auto"), several),
        "sync_batchnorm": sync_batchnorm,
        # Our samplers shard by themselves: every sample once in evaluation, one permutation for all in training.
        "use_distributed_sampler": False,
    }


def _plugins(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plugins where the configuration names none: checkpoints that are whole at any moment.

    On SLURM the `Requeue` callback answers to signals. Lightning's own requeueing saves in the middle of a step, and
    its file is what a later test of the trained weights would silently take instead of them.
    """
    if trainer.get("plugins") is not None:
        return {}
    from eztorch.engine.checkpoint_io import WholeCheckpointIO

    if slurm_tasks() is None:
        return {"plugins": [WholeCheckpointIO()]}
    environment = build({"_target_": f"{_ENVIRONMENTS}.SLURMEnvironment", "auto_requeue": False})
    return {"plugins": [environment, WholeCheckpointIO()]}


def _strategy(asked: Any, several: bool) -> Any:
    """Return the strategy. One process needs no process group; buffers (the queue) are never broadcast."""
    is_ddp = asked in ("auto", "ddp") or (is_spec(asked) and str(asked["_target_"]).endswith("DDPStrategy"))
    if not is_ddp:
        return build(asked)
    if not several:
        return "auto"
    spec = asked if is_spec(asked) else {"_target_": "lightning.pytorch.strategies.DDPStrategy"}
    return build(spec if _BUFFER_KEYS & spec.keys() else {**spec, _buffer_key(): False})


def _buffer_key() -> str:
    """Return the name under which this torch takes whether buffers are broadcast before every step."""
    from torch.nn.parallel import DistributedDataParallel

    old, new = sorted(_BUFFER_KEYS)
    return new if new in inspect.signature(DistributedDataParallel).parameters else old
