"""A model that notes which images it is given; also what each of two processes does for test_images.py."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from eztorch.datamodules import CIFAR10DataModule


class Recorder(LightningModule):
    """Learns nothing; notes numbers, labels and pixels of what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {"train": [], "val": [], "test": []}

    def note(self, split, batch):
        assert batch["input"].dtype == torch.uint8
        sums = batch["input"].long().flatten(1).sum(1).tolist()
        samples = list(zip(batch["idx"].tolist(), batch["label"].tolist(), sums, strict=True))
        self.seen[split].append((self.current_epoch, samples))

    def training_step(self, batch, batch_idx):
        self.note("train", batch)
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.note("val", batch)

    def test_step(self, batch, batch_idx):
        self.note("test", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(Callback):
    """Writes a checkpoint after a step."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def run(root, folder, *, resident, save_at=None, ckpt_path=None, test=False, workers=0, **arguments):
    """Fit two epochs over CIFAR-10 in a folder of pictures, and return what the model was given."""
    split = {"global_batch_size": 6, "loader": {"num_workers": workers}}
    train = {**split, "loader": {**split["loader"], "drop_last": True}}
    datamodule = CIFAR10DataModule(root, train=train, val=split, test=split, resident=resident)
    usual = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "use_distributed_sampler": False,
    }
    callbacks = [] if save_at is None else [SaveAt(save_at, Path(folder) / "middle.ckpt")]
    trainer, model = Trainer(**(usual | arguments), callbacks=callbacks), Recorder()
    trainer.fit(model, datamodule=datamodule, ckpt_path=ckpt_path)
    if test:
        trainer.test(model, datamodule=datamodule, verbose=False)
    return model.seen


def main():
    """Run with resident images and with the loader, in two processes, to the end and from the middle."""
    root, folder = sys.argv[1:]
    torch.set_num_threads(1)
    both = {"devices": 2, "strategy": "ddp"}
    seen = {
        "resident": run(root, folder, resident=True, save_at=4, test=True, **both),
        "loader": run(root, folder, resident=False, test=True, **both),
        "resumed": run(root, folder, resident=True, ckpt_path=f"{folder}/middle.ckpt", **both),
    }
    torch.save(seen, f"{folder}/{torch.distributed.get_rank()}.pt")


if __name__ == "__main__":
    main()
