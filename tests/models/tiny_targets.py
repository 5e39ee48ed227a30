"""A classifier of a verb and a noun over data in memory, for the tests here and the processes that they start."""

import torch
from tiny_classifier import CLASSES, OPTIMIZER, Clips, Data, make_trainer
from torch import nn

from eztorch.callbacks import PredictionWriter
from eztorch.models import MultiTargetModel

NOUNS = 3


class TargetClips(Clips):
    """Clips whose class is a verb, and, modulo 3, a noun."""

    def __getitem__(self, address):
        return [
            {**sample, "verb": sample["label"], "noun": sample["label"] % NOUNS}
            for sample in super().__getitem__(address)
        ]


class TargetData(Data):
    """Clips of 24 videos to train on, and of 13 to evaluate with 3 views each."""

    def __init__(self):
        super().__init__()
        self.train, self.val = TargetClips(24), TargetClips(13, views=3)
        self.target_classes = {"verb": CLASSES, "noun": NOUNS}


def make_target_model(**options):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.ReLU())
    heads = {"verb": nn.Linear(16, CLASSES), "noun": nn.Linear(16, NOUNS)}
    return MultiTargetModel(**{"trunk": trunk, "heads": heads, "optimizer": OPTIMIZER, **options})


def validate_targets(name, **options):
    augmentation = None if name is None else {"name": name}
    (values,) = make_trainer(**options).validate(
        make_target_model(val_time_augmentation=augmentation), datamodule=TargetData(), verbose=False
    )
    return values


def predict_targets(folder, **options):
    """Test a classifier of two targets, whose predictions are written; return its metrics."""
    trainer = make_trainer(callbacks=[PredictionWriter(folder, views=True)], **options)
    model = make_target_model(test_time_augmentation={"name": "avg_group"})
    trainer.test(model, datamodule=TargetData(), verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}
