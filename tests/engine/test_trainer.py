from __future__ import annotations

import warnings

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from eztorch.engine.trainer import Placement, build_trainer, find_placement, trainer_arguments
from eztorch.utils.errors import ConfigError

SLURM = {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "1"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_NTASKS_PER_NODE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    # What find_placement adds for Lightning is taken back after the test.
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "")


@pytest.mark.parametrize("devices", [-1, "-1", "auto"])
def test_find_placement__takes_one_process_on_a_bare_cpu(devices):
    assert find_placement({"accelerator": "cpu", "devices": devices}) == Placement("cpu", 1, 1)


@pytest.mark.parametrize(("devices", "count"), [(2, 2), ("2", 2), ([0, 3], 2), ("0,3", 2)])
def test_find_placement__counts_the_devices_that_are_listed(devices, count):
    assert find_placement({"accelerator": "cpu", "devices": devices, "num_nodes": 2}).world_size == 2 * count


@pytest.mark.parametrize("devices", [0, -2, "many"])
def test_find_placement__refuses_a_number_of_devices_that_means_nothing(devices):
    with pytest.raises(ConfigError, match=r"trainer\.devices=.*expected a positive number"):
        find_placement({"accelerator": "cpu", "devices": devices})


def test_find_placement__names_the_missing_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"trainer\.accelerator=gpu.*no GPU.*trainer\.accelerator=cpu"):
        find_placement({"accelerator": "gpu", "devices": -1})


@pytest.mark.usefixtures("slurm")
def test_find_placement__takes_the_tasks_of_srun_on_the_cpu():
    assert find_placement({"accelerator": "cpu", "devices": -1}).world_size == 2


@pytest.mark.usefixtures("slurm")
def test_find_placement__refuses_a_task_count_that_does_not_match():
    with pytest.raises(ConfigError, match=r"SLURM started 2 task.* 1 x 1 = 1 process.*--ntasks-per-node=1.*devices=2"):
        find_placement({"accelerator": "cpu", "devices": 1})


def test_find_placement__refuses_an_allocation_without_srun(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    with pytest.raises(ConfigError, match="8 tasks, but the command was started once, without srun"):
        find_placement({"accelerator": "cpu"})


def test_find_placement__refuses_another_number_than_torchruns(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"torchrun started 8.*trainer\.devices=4 trainer\.num_nodes=2"):
        find_placement({"accelerator": "cpu", "devices": 4})
    assert find_placement({"accelerator": "cpu", "devices": -1, "num_nodes": 2}).world_size == 8


def test_trainer_arguments__one_process_needs_no_process_group_and_no_sync():
    recipe = {
        "strategy": {"_target_": "lightning.pytorch.strategies.DDPStrategy", "static_graph": False},
        "sync_batchnorm": True,
        "precision": 32,
    }
    arguments = trainer_arguments(recipe, Placement("cpu", 1, 1))
    assert arguments["strategy"] == "auto"
    assert arguments["sync_batchnorm"] is False
    assert arguments["use_distributed_sampler"] is False


@pytest.mark.parametrize("asked", ["auto", "ddp", {"_target_": "lightning.pytorch.strategies.DDPStrategy"}])
def test_trainer_arguments__several_processes_do_not_broadcast_buffers(asked):
    strategy = trainer_arguments({"strategy": asked}, Placement("cpu", 2, 1))["strategy"]
    assert isinstance(strategy, DDPStrategy)
    (buffers,) = {"broadcast_buffers", "forward_sync_buffers"} & strategy._ddp_kwargs.keys()
    assert strategy._ddp_kwargs[buffers] is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the name is not a deprecated one
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        try:
            DistributedDataParallel(torch.nn.Linear(1, 1), **strategy._ddp_kwargs)
        finally:
            torch.distributed.destroy_process_group()


def test_trainer_arguments__what_a_recipe_says_of_buffers_counts():
    asked = {"_target_": "lightning.pytorch.strategies.DDPStrategy", "broadcast_buffers": True}
    strategy = trainer_arguments({"strategy": asked}, Placement("cpu", 2, 1))["strategy"]
    assert strategy._ddp_kwargs == {"broadcast_buffers": True}


@pytest.mark.parametrize(
    ("asked", "used"), [(16, "16-mixed"), ("bf16", "bf16-mixed"), (32, "32-true"), ("64-true", "64-true")]
)
def test_trainer_arguments__short_names_of_precisions(asked, used):
    assert trainer_arguments({"precision": asked}, Placement("gpu", 1, 1))["precision"] == used


def test_trainer_arguments__half_precision_needs_a_gpu():
    with pytest.raises(ConfigError, match=r"trainer\.precision=16 needs a GPU.*bf16"):
        trainer_arguments({"precision": 16}, Placement("cpu", 1, 1))


def test_trainer_arguments__synchronised_batch_norm_needs_gpus():
    with pytest.raises(ConfigError, match=r"trainer\.sync_batchnorm=true needs GPUs.*2 processes"):
        trainer_arguments({"sync_batchnorm": True}, Placement("cpu", 2, 1))


@pytest.mark.parametrize("batches", [0, -1, 1.5, "many"])
def test_trainer_arguments__accumulate_at_least_one_batch(batches):
    with pytest.raises(ConfigError, match=r"trainer\.accumulate_grad_batches"):
        trainer_arguments({"accumulate_grad_batches": batches}, Placement("cpu", 1, 1))


def test_find_placement__in_a_job_of_slurm_takes_the_processes_of_torchrun(slurm, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert find_placement({"accelerator": "cpu", "devices": 4}) == Placement("cpu", 4, 1)


def test_trainer_arguments__keep_lightning_from_saving_inside_a_signal_on_slurm(slurm):
    environment, _ = trainer_arguments({}, Placement("cpu", 2, 1))["plugins"]
    assert (environment.auto_requeue, environment.world_size()) == (False, 2)
    assert "plugins" not in trainer_arguments({"plugins": []}, Placement("cpu", 2, 1))


@pytest.mark.parametrize("devices", [None, 1.5, 0, "two"])
def test_find_placement__refuses_what_is_no_number_of_devices(devices):
    with pytest.raises(ConfigError, match=r"trainer\.devices=.*; expected a positive number, a list of indices"):
        find_placement({"accelerator": "cpu", "devices": devices})


def test_find_placement__refuses_what_is_no_number_of_nodes():
    with pytest.raises(ConfigError, match=r"trainer\.num_nodes='x'; expected a whole number"):
        find_placement({"accelerator": "cpu", "num_nodes": "x"})


TRAINER = {"_target_": "lightning.pytorch.trainer.Trainer", "enable_checkpointing": False, "logger": False}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("accelerator", "foo", r"trainer: .*invalid accelerator name"),
        ("precision", "foo", r"trainer: Precision 'foo' is invalid"),
        ("check_val_every_n_epoch", 0, r"trainer\.check_val_every_n_epoch=0; expected a whole number of at least 1"),
        ("val_check_interval", 1.5, r"val_check_interval"),
    ],
)
def test_build_trainer__what_lightning_refuses_is_an_error_of_the_configuration(key, value, message):
    trainer = {**TRAINER, key: value}
    with pytest.raises(ConfigError, match=message):
        build_trainer(trainer, Placement(trainer.get("accelerator", "cpu"), 1, 1))
