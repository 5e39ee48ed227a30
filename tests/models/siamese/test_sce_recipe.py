"""The model block of the shipped recipe, key by key, on narrow networks and small clips."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from eztorch.models.siamese import SCEModel
from eztorch.optimizers import LARS
from eztorch.utils.config import build

_RECIPE = Path(__file__).parents[2] / "configs" / "seed_recipe.yaml"


class Clips(Dataset):
    """Pairs of random clips of 4 frames, uint8, 24 x 24."""

    def __init__(self, length: int = 12) -> None:
        generator = torch.Generator().manual_seed(2)
        self.clips = torch.randint(0, 256, (length, 2, 3, 4, 24, 24), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": [clip.clone() for clip in self.clips[index]], "idx": index}


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The block with all its keys; widths, queue, batch and length of the run are small."""
    model = yaml.safe_load(_RECIPE.read_text())["model"]
    model["trunk"]["model"]["stem_dim_out"] = 4
    model["trunk"]["head"]["in_features"] = 32
    model["projector"] |= {"input_dim": 32, "hidden_dims": [16, 16], "output_dim": 8}
    model["predictor"] |= {"input_dim": 8, "hidden_dims": [16], "output_dim": 8}
    model["queue"] = {"size": 20, "feature_dim": 8}
    model["optimizer"] |= {"batch_size": 4, "initial_lr": 64.0}
    model["optimizer"]["scheduler"]["params"] |= {"max_epochs": 2, "warmup_epochs": 1}
    return model


def _make(recipe: dict[str, Any]) -> SCEModel:
    seed_everything(11, verbose=False)
    return build(recipe)


class Watch(Callback):
    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.losses: list[float] = []
        self.lrs: list[float] = []
        self.momenta: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["scalars"]["pretrain/loss"].item())
        self.momenta.append(outputs["scalars"]["pretrain/momentum_value"])

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.lrs.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.stop_after


def test_recipe__trains_for_two_epochs(recipe, fit):
    untouched = copy.deepcopy(recipe)
    model, watch = _make(recipe), Watch()
    assert recipe == untouched
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = fit(model, data=Clips(), max_epochs=2, callbacks=[watch])
    assert isinstance(trainer.optimizers[0], LARS)
    assert trainer.global_step == 6
    assert torch.tensor(watch.losses).isfinite().all()
    # lr = 64 * 4 / 256: up to 1 in the 3 steps of the first epoch, then down the cosine.
    assert watch.lrs == pytest.approx([0, 1 / 3, 2 / 3, 1, 0.75, 0.25])
    assert (watch.momenta[0], watch.momenta[-1]) == (0.99, 1.0)
    unchanged = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert not unchanged
    torch.testing.assert_close(model.queue.features.norm(dim=1), torch.ones(20))
    clip = {"input": torch.rand(2, 3, 4, 24, 24)}
    assert {name: x.shape for name, x in model.eval().validation_step(clip, 0).items()} == {
        "h": (2, 32),
        "z": (2, 8),
        "q": (2, 8),
    }


def _state(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested state to comparable leaves."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _state(item, f"{prefix}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, item in enumerate(value) for k, v in _state(item, f"{prefix}.{key}").items()}
    return {prefix: value}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_recipe__a_run_stopped_after_epoch_1_and_resumed_ends_as_the_uninterrupted_one(
    recipe, fit, tmp_path, accumulate
):
    keys = {"data": Clips(), "max_epochs": 2, "accumulate_grad_batches": accumulate}
    whole, seen = _make(recipe), Watch()
    expected = fit(whole, **keys, callbacks=[seen])

    def checkpoint() -> ModelCheckpoint:
        return ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)

    first = Watch(stop_after=1)
    fit(_make(recipe), **keys, enable_checkpointing=True, callbacks=[first, checkpoint()])
    assert len(first.losses) == 3

    seed_everything(999, verbose=False)  # weights and queue of a fresh model must not matter
    resumed = build(recipe)
    seed_everything(11, verbose=False)
    second = Watch()
    keys |= {"enable_checkpointing": True, "callbacks": [second, checkpoint()]}
    trainer = fit(resumed, **keys, ckpt_path=str(tmp_path / "epoch=0.ckpt"))
    assert first.losses + second.losses == seen.losses
    assert first.momenta + second.momenta == seen.momenta
    assert first.lrs + second.lrs == seen.lrs
    assert trainer.global_step == expected.global_step
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    states = [_state(t.optimizers[0].state_dict()) for t in (expected, trainer)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        same = torch.equal(states[1][name], value) if isinstance(value, torch.Tensor) else states[1][name] == value
        assert same, name
