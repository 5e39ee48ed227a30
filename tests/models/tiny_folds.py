"""A short training over epochs of several passes, for test_folds.py and the processes that it starts."""

import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import nn

from eztorch.callbacks import OnlineEvaluator
from eztorch.datamodules import RandomDataModule
from eztorch.models import SupervisedModel
from eztorch.models.siamese import SCEModel
from eztorch.utils.distributed import rank

CLASSES = 3


def jitter(sample):
    """An augmentation, drawn from the generator of the sample's address."""
    views = sample["input"] if isinstance(sample["input"], list) else [sample["input"]]
    views = [view + torch.rand(()) for view in views]
    return {**sample, "input": views if len(views) > 1 else views[0]}


class Noise(nn.Module):
    """A batch transform, drawn from the generator of the step."""

    def forward(self, inputs):
        if isinstance(inputs, list):
            return [self(view) for view in inputs]
        return inputs + 0.1 * torch.rand_like(inputs)


class Recorder(Callback):
    """Keeps what every step saw and did."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        views = batch["input"] if isinstance(batch["input"], list) else [batch["input"]]
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self.steps.append({"idx": batch["idx"].tolist(), "input": torch.cat(views), "lr": rates})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps[-1]["loss"] = float(outputs["loss"].detach())


class SaveAt(Callback):
    """Saves a checkpoint after a number of batches."""

    def __init__(self, batches, path):
        self.batches, self.path, self.seen = batches, path, 0

    def on_train_batch_end(self, trainer, *arguments):
        self.seen += 1
        if self.seen == self.batches:
            trainer.save_checkpoint(self.path)


def optimizer_of(interval, epochs):
    """A rate that falls over the run, from epoch to epoch or from step to step."""
    return {
        "_target_": "eztorch.optimizers.optimizer_factory",
        "name": "sgd",
        "initial_lr": 0.5,
        "scheduler": {
            "_target_": "eztorch.schedulers.scheduler_factory",
            "name": "cosine_annealing_lr",
            "params": {"T_max": epochs},
            "interval": interval,
        },
    }


def classifier(optimizer):
    return SupervisedModel(nn.Linear(4, CLASSES), optimizer, train_transform=Noise())


def siamese(optimizer):
    networks = {"trunk": nn.Linear(4, 4), "projector": nn.Linear(4, 4), "train_transform": Noise()}
    queue = {"size": 16, "feature_dim": 4}
    return SCEModel(**networks, optimizer=optimizer, queue=queue, shuffle_bn=False, scheduler_momentum="cosine_epoch")


def train(path, *, epochs, folds, method=classifier, interval="epoch", samples=11, callbacks=(), **options):
    """Fit with a probe beside the model; return what the steps were, the weights and the probe."""
    seed_everything(3, verbose=False)
    loader, ckpt_path = {"drop_last": options.pop("drop_last", False)}, options.pop("ckpt_path", None)
    views = 1 if method is classifier else 2
    data = RandomDataModule(
        train={
            "dataset": {"shape": [4], "len_dataset": samples, "num_views": views},
            "transform": jitter,
            "global_batch_size": 4,
            "num_folds": folds,
            "loader": loader,
        },
        num_classes=CLASSES,
    )
    model = method(optimizer_of(interval, epochs))
    name, width = ("logits", CLASSES) if method is classifier else ("h", 4)
    probe = OnlineEvaluator(optimizer_of(interval, epochs), nn.Linear(width, CLASSES), input_name=name)
    recorder = Recorder()
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(
        **{
            **{"accelerator": "cpu", "devices": 1, "max_epochs": epochs, "use_distributed_sampler": False},
            **dict.fromkeys(quiet, False),
            **options,
        },
        default_root_dir=path,
        callbacks=[recorder, probe, *callbacks],
    )
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path)
    return {"steps": recorder.steps, "weights": model.state_dict(), "probe": probe.state_dict()["classifier"]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    several = {"devices": 2, "strategy": "ddp", "drop_last": True}
    runs = [train(folder, epochs=epochs, folds=6 // epochs, **several) for epochs in (2, 6)]
    torch.save(runs, folder / f"{rank()}.pt")
    torch.distributed.destroy_process_group()
