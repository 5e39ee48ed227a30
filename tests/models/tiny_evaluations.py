"""Evaluations of a few real videos, for test_exact_evaluation.py, which starts this with one process and with two."""

import os
import sys
import warnings
from itertools import product
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from eztorch.callbacks import FailureMonitor, PredictionWriter
from eztorch.datamodules import VideoDataModule
from eztorch.evaluation import extract_features, knn_predict
from eztorch.models import SupervisedModel
from eztorch.utils.distributed import rank, world_size

CLASSES, VIEWS = 7, 3
COUNTS = (7, 8, 9)
# Which videos cannot be read. Two processes take batches of 2 each, so rank 1 has 1 and 3, then 5 and 7.
BROKEN = {"none": (), "one_of_a_rank": (3,), "a_batch_of_a_rank": (1, 3), "a_rank": (1, 3, 5, 7)}
# Number of videos, which are broken, what becomes of them, and how views are brought together.
CASES = [
    *product(COUNTS, ["none"], ["skip"], [None, "avg_group"]),
    *product(COUNTS, ["one_of_a_rank"], ["skip", "count_as_wrong"], ["avg_group"]),
    *product([8], ["a_batch_of_a_rank", "a_rank"], ["skip", "count_as_wrong"], [None]),
]


class Network(nn.Module):
    """Features are the mean of a part of the clip; their first numbers decide."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.AdaptiveAvgPool3d((2, 2, 2)), nn.Flatten())
        self.head = nn.Linear(24, CLASSES)

    def forward(self, clips):
        return self.head(self.trunk(clips.float() / 255))


def data(folder, count, broken, on_error):
    """The first `count` of the videos, those of `broken` torn, as training and test split."""
    lines = [f"{'torn' if i in broken else 'video'}_{i}.mp4 {i % CLASSES}" for i in range(count)]
    annotation = folder / f"{count}_{'_'.join(map(str, broken))}_{rank()}_{world_size()}.csv"
    annotation.write_text("\n".join(lines) + "\n")
    sampler = {
        "_target_": "eztorch.datasets.clip_samplers.ConstantClipsPerVideoSampler",
        "clip_duration": 0.5,
        "clips_per_video": VIEWS,
    }
    split = {
        "dataset": {"datadir": str(annotation), "video_path_prefix": str(folder)},
        "clip_sampler": sampler,
        "decoder_args": {"frame_filter": {"subsample_type": "uniform", "num_samples": 2}},
        "global_batch_size": 4,
        "on_error": on_error,
    }
    train = {**split, "clip_sampler": {**sampler, "clips_per_video": 1}, "on_error": "skip"}
    return VideoDataModule(CLASSES, train=train, val=split, test=split)


def predictions_folder(folder, world, *case):
    """Where the predictions of a case are written."""
    return folder / f"predictions_{world}_{'-'.join(map(str, case))}"


def evaluate(folder, count, broken, on_error, augmentation):
    """Test and validate a classifier; return its metrics, features of both splits, and what neighbours say."""
    seed_everything(0, verbose=False)
    writer = PredictionWriter(predictions_folder(folder, world_size(), count, broken, on_error, augmentation))
    augmentation = None if augmentation is None else {"name": augmentation}
    model = SupervisedModel(Network(), None, val_time_augmentation=augmentation, test_time_augmentation=augmentation)
    several = world_size() > 1
    trainer = Trainer(
        accelerator="cpu",
        devices=world_size(),
        strategy="ddp" if several else "auto",
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=[FailureMonitor(folder / f"failed_{world_size()}.csv"), writer],
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    )
    datamodule = data(folder, count, BROKEN[broken], on_error)
    trainer.test(model, datamodule=datamodule, verbose=False)
    tested = {name: float(value) for name, value in trainer.callback_metrics.items()}
    (validated,) = trainer.validate(model, datamodule=datamodule, verbose=False)

    def features(batch, batch_idx):
        return None if batch["input"] is None else {"h": model.model.trunk(batch["input"].float() / 255)}

    found = extract_features(model, datamodule.feature_dataloader("test"), step=features)
    votes = knn_predict(found.features, found.labels, found.features, k=3, exclude_self=True)
    return {"metrics": {**tested, **validated}, "features": found, "votes": votes}


def main(folder):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    results = {key: evaluate(folder, *key) for key in CASES}
    torch.save(results, folder / f"{world_size()}_{rank()}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
