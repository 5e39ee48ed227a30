"""Corrupted tests: addressed randomness, and what crops of a clip share."""

import pytest
import torch
from lightning.pytorch import LightningModule
from tiny_run import make_trainer

from eztorch.callbacks import PredictionWriter
from eztorch.callbacks.corruption import CorruptInput
from eztorch.datamodules import RandomDataModule
from eztorch.transforms.corruptions import CORRUPTIONS
from eztorch.utils.errors import ConfigError


def batch_of(rows, frames=10):
    """A batch of views, (idx, clip_index, aug_index) each, whose frames have their number as colour."""
    clips = torch.arange(frames, dtype=torch.uint8).view(1, 1, frames, 1, 1).expand(len(rows), 3, frames, 4, 4)
    idx, clip, aug = torch.tensor(rows).T
    return {"input": clips.clone(), "idx": idx, "clip_index": clip, "aug_index": aug}


def corrupted(name, severity, batch):
    CorruptInput(name, severity).on_test_batch_start(None, None, batch, 0)
    return batch["input"]


ROWS = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (5, 0, 0)]


@pytest.mark.parametrize("name", ["gaussian_noise", "freeze", "frame_drop"])
def test_corruption__of_a_view_does_not_depend_on_its_batch(name):
    together = corrupted(name, 3, batch_of(ROWS))
    alone = [corrupted(name, 3, batch_of([row]))[0] for row in reversed(ROWS)]
    assert torch.equal(together, torch.stack(alone[::-1]))


def test_corruption__in_time_is_that_of_the_clip_and_noise_that_of_the_view():
    frames = corrupted("frame_drop", 4, batch_of([(i, c, a) for i in range(8) for c in range(2) for a in range(2)]))
    frames = frames[:, 0, :, 0, 0].view(16, 2, 10)
    assert torch.equal(frames[:, 0], frames[:, 1])
    assert len({tuple(row) for row in frames[:, 0].tolist()}) > 8
    noise = corrupted("gaussian_noise", 1, batch_of(ROWS))
    assert len({tuple(view.flatten().tolist()) for view in noise}) == 4


def test_corruption__of_other_names_and_severities_draws_anew():
    noise = [corrupted("gaussian_noise", severity, batch_of(ROWS[:1])).float() - 5 for severity in (1, 2)]
    assert abs(torch.corrcoef(torch.stack([one.flatten() for one in noise]))[0, 1]) < 0.2


def test_corruption__passes_empty_batches_and_images():
    empty = {"input": None, "failures": ["torn"]}
    assert corrupted("jpeg", 1, empty) is None
    images = {"input": torch.zeros(2, 3, 4, 4, dtype=torch.uint8), "idx": torch.tensor([0, 1])}
    assert corrupted("brightness", 1, images).unique().tolist() == [26]


def test_corruption__of_several_views_at_once_is_an_error():
    batch = {"input": [torch.zeros(1, 3, 4, 4, dtype=torch.uint8)] * 2, "idx": torch.tensor([0])}
    with pytest.raises(ConfigError, match=r"jpeg corrupts one view a sample, and the test split gives 2 at once"):
        corrupted("jpeg", 1, batch)


class Colours(LightningModule):
    """Scores are sums of parts of the clip, so that every change of it is seen."""

    def test_step(self, batch, batch_idx):
        return {"logits": batch["input"].float().flatten(1).unflatten(1, (4, -1)).mean(2) / 20}


def predictions_under(folder, name, severity, batch_size=4):
    split = {"dataset": {"shape": [3, 6, 4, 4], "len_dataset": 7, "uint8": True}, "global_batch_size": batch_size}
    data = RandomDataModule(test=split, num_classes=4)
    callbacks = [PredictionWriter(folder, metrics=[])]
    if severity is not None:
        callbacks.append(CorruptInput(name, severity))
    make_trainer(folder, callbacks).test(Colours(), datamodule=data, verbose=False)
    return (folder / "test.safetensors").read_bytes()


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_corrupted_test__repeats_bit_for_bit_and_severity_0_is_clean(tmp_path, name):
    clean = predictions_under(tmp_path, name, None)
    assert predictions_under(tmp_path, name, 0) == clean
    corrupted_ones = [predictions_under(tmp_path, name, 3, batch_size) for batch_size in (4, 4, 3)]
    assert corrupted_ones[0] == corrupted_ones[1] == corrupted_ones[2] != clean
