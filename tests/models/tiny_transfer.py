"""Fine-tunings and evaluations of a tiny trunk, for test_transfer_ranks.py, which starts this with one and two processes."""

import csv
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from eztorch.callbacks import BatchStatistics
from eztorch.datamodules import RandomDataModule
from eztorch.evaluation import LinearProbe
from eztorch.models import FinetuningModel, LinearClassifierEvaluation
from eztorch.utils.distributed import rank, world_size

CLASSES, WIDTH = 6, 4
# Training and validation samples: what batches of 4 and two processes divide, and what they do not.
COUNTS = ((8, 8), (11, 7))
CASES = ("linear", "frozen", "norms", "two_groups")


class Trunk(nn.Sequential):
    """From images (B, 3, 6, 6) to features (B, 4)."""

    num_features, num_layers = WIDTH, 2

    def __init__(self):
        layers = [nn.Conv2d(3, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)

    def get_param_layer_id(self, name):
        return int(name.split(".")[0])


def optimizer_of(**keys):
    return {
        "_target_": "eztorch.optimizers.optimizer_factory",
        "name": "sgd",
        "params": {"momentum": 0.9},
        **({} if "initial_lr1" in keys else {"initial_lr": 0.5}),
        "scheduler": {
            "_target_": "eztorch.schedulers.scheduler_factory",
            "name": "linear_warmup_cosine_annealing_lr",
            "params": {"max_epochs": 3, "warmup_epochs": 1, "warmup_start_lr": 0.1, "eta_min": 0.02},
            "interval": "step",
        },
        **keys,
    }


TWO_GROUPS = optimizer_of(
    _target_="eztorch.optimizers.optimizer_factory_two_groups", initial_lr1=0.05, initial_lr2=0.5, exclude_wd_bias=True
)


def make_model(case, trunk=None, **keys):
    torch.manual_seed(1)
    parts = {"trunk": Trunk() if trunk is None else trunk, "classifier": nn.Linear(WIDTH, CLASSES)}
    if case == "linear":
        return LinearClassifierEvaluation(**parts, optimizer=optimizer_of(), **keys)
    options = {
        "frozen": {"freeze_trunk": True},
        "norms": {"freeze_bn_layers": "all"},
        # Statistics of a batch are not those of its parts, so that two processes need frozen ones to be one.
        "two_groups": {"freeze_bn_layers": "statistics", "two_groups": True, "optimizer": TWO_GROUPS},
        "plain": {},
    }[case]
    return FinetuningModel(**{**parts, "optimizer": optimizer_of(), **options, **keys})


def make_data(train, val):
    def split(count):
        return {"dataset": {"shape": [3, 6, 6], "len_dataset": count}, "global_batch_size": 4}

    return RandomDataModule(
        train={**split(train), "loader": {"drop_last": True}}, val=split(val), test=split(val), num_classes=CLASSES
    )


def make_trainer(folder, **options):
    several = world_size() > 1
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return Trainer(
        **{
            **{"accelerator": "cpu", "devices": world_size(), "strategy": "ddp" if several else "auto"},
            **{"max_epochs": 3, "use_distributed_sampler": False, "default_root_dir": folder},
            **{"callbacks": [BatchStatistics()], "log_every_n_steps": 1},
            **dict.fromkeys(quiet, False),
            **options,
        }
    )


def train(folder, case, counts, **keys):
    """Return the weights before and after a training, and what was measured."""
    seed_everything(3, verbose=False)
    model, trainer = make_model(case, **keys), make_trainer(folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.fit(model, datamodule=make_data(*counts))
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    (tested,) = trainer.test(model, datamodule=make_data(*counts), verbose=False)
    return {"before": before, "after": model.state_dict(), "metrics": {**metrics, **tested}}


def probe(folder, counts, **keys):
    """Return what a linear probe measured, and its grid."""
    seed_everything(3, verbose=False)
    torch.manual_seed(1)
    options = {"learning_rates": [1e-6, 1.0, 30.0], "sources": ["output", "0/average_max"], "epochs": 5}
    model = LinearProbe(Trunk(), **{**options, "batch_size": 4, "held_out": 0.3, **keys})
    (metrics,) = make_trainer(folder).validate(model, datamodule=make_data(*counts), verbose=False)
    with (folder / "linear_probe.csv").open() as lines:
        return {"metrics": metrics, "grid": list(csv.DictReader(lines))}


def main(folder):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    results = {(case, counts): train(folder, case, counts) for case in CASES for counts in COUNTS}
    for counts in COUNTS:
        for selection in ("held_out", "val"):
            results["probe", counts, selection] = probe(folder, counts, selection=selection)
    torch.save(results, folder / f"{world_size()}_{rank()}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
