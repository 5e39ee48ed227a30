"""MoSI: telling pseudo motions apart."""

from __future__ import annotations

import math
from typing import Any

import mosi_ranks
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from mosi_ranks import FEATURES, Losses, Stills, make
from tiny_classifier import make_trainer
from torch import nn
from torch.utils.data import DataLoader, default_collate

from eztorch.callbacks import OnlineEvaluator
from eztorch.models.mosi import motion_labels
from eztorch.transforms.batch import PseudoMotions
from eztorch.transforms.batch.pseudo_motions import motion_classes
from eztorch.utils.errors import ConfigError, DataError

both_heads = pytest.mark.parametrize("heads", ["joint", "separate"])

without_validation = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


def batch_of(number: int = 4) -> dict[str, Any]:
    return default_collate([Stills()[index] for index in range(number)])


def test_motion_labels__tell_every_motion_or_the_speed_along_each_axis():
    speeds = motion_classes(2)
    assert motion_labels(speeds, separate=False)["joint"].tolist() == list(range(9))
    separate = motion_labels(speeds, separate=True)
    assert list(zip(*(labels.tolist() for labels in separate.values()), strict=True)) == [
        (x + 2, y + 2) for x, y in speeds
    ]


@both_heads
def test_training_step__is_the_cross_entropy_of_the_classes_of_the_clips(heads):
    model, batch = make(heads=heads), batch_of()
    clips = model.train_transform(batch["input"])
    model.train_transform.forward = lambda stills: clips
    step = model.training_step(batch, 0)
    total, hits = 0.0, dict.fromkeys(model.heads, 0)
    for b in range(4):
        for n, (x, y) in enumerate(model.train_transform.speeds):
            features = model.trunk(clips[b, n][None])
            wanted = {"joint": n, "x": x + 2, "y": y + 2}
            for name, head in model.heads.items():
                logits = head(features)[0]
                total -= logits.log_softmax(dim=0)[wanted[name]].item() / 36
                hits[name] += int(logits.argmax()) == wanted[name]
    assert step["loss"].item() == pytest.approx(total, rel=1e-5)
    assert step["scalars"]["pretrain/loss"] == step["loss"]
    assert {name: step["scalars"][f"pretrain/acc_{name}"].item() for name in hits} == pytest.approx(
        {name: hit / 36 for name, hit in hits.items()}
    )


@both_heads
def test_training_step__gradient_reaches_every_parameter(heads):
    model = make(heads=heads)
    model.training_step(batch_of(), 0)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_training_step__gives_a_row_of_features_for_each_still():
    model, batch = make(), batch_of()
    clips = model.train_transform(batch["input"])
    model.train_transform.forward = lambda stills: clips
    h = model.training_step(batch, 0)["h"]
    expected = torch.stack([model.trunk(clips[b]).mean(dim=0) for b in range(4)])
    torch.testing.assert_close(h, expected.detach())
    assert not h.requires_grad


@pytest.mark.parametrize(
    ("heads", "decoupled", "expected"),
    [
        ("joint", True, math.log(9)),
        ("joint", False, math.log(25)),
        ("separate", True, 2 * (5 / 9 * math.log(9 / 5) + 4 / 9 * math.log(9))),
        ("separate", False, 2 * math.log(5)),
    ],
)
def test_chance_level__is_the_loss_of_who_knows_nothing_but_how_frequent_classes_are(heads, decoupled, expected):
    model = make(heads=heads, train_transform=PseudoMotions(6, num_frames=4, decoupled=decoupled))
    assert model.chance_level == pytest.approx(expected)
    for name, head in model.heads.items():
        nn.init.zeros_(head.layers[-1].weight)
        shares = getattr(model, f"labels_{name}").bincount() / len(model.train_transform.speeds)
        head.layers[-1].bias.data = shares.log()
    assert model.training_step(batch_of(), 0)["loss"].item() == pytest.approx(expected, rel=1e-5)


@both_heads
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_fit__learns_the_motions_in_every_precision_with_a_short_last_batch(heads, precision):
    model, losses = make(heads=heads, dropout=0.1), Losses()
    probe = OnlineEvaluator(
        lambda model, num_steps_per_epoch: (torch.optim.SGD(model.parameters(), lr=0.1), None),
        nn.Linear(FEATURES, 2),
    )
    trainer = make_trainer(max_epochs=25, precision=precision, callbacks=[losses, probe], check_val_every_n_epoch=25)
    clips = [{"input": torch.randn(3, 4, 6, 6), "idx": index, "label": index % 2} for index in range(3)]
    trainer.fit(model, DataLoader(Stills(11), batch_size=4), DataLoader(clips, batch_size=2))
    assert [len(step["h"]) for step in losses.outputs[:3]] == [4, 4, 3]
    assert sum(losses.values[-3:]) < 0.6 * sum(losses.values[:3])
    for name in model.heads:
        assert float(losses.outputs[-1]["scalars"][f"pretrain/acc_{name}"]) > 0.5
    assert trainer.callback_metrics.keys() >= {"online/train_acc_1", "online/val_acc_1"}


@without_validation
def test_fit__continues_where_it_was_stopped(tmp_path):
    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    def run(**options: Any) -> dict[str, torch.Tensor]:
        model = make(dropout=0.5)
        make_trainer(max_epochs=2, callbacks=[Save()]).fit(model, DataLoader(Stills(), batch_size=4), **options)
        return model.state_dict()

    whole = run()
    torch.testing.assert_close(run(ckpt_path=str(tmp_path / "0.ckpt")), whole, rtol=0, atol=0)
    assert not any("transform" in name or "labels" in name for name in whole)


def test_validation_step__gives_features_of_clips():
    model, clips = make().eval(), torch.randn(2, 3, 4, 6, 6)
    torch.testing.assert_close(model.validation_step({"input": clips}, 0)["h"], model.trunk(clips))
    assert model.validation_step({"input": None}, 0) is None
    assert model.test_step({"input": None}, 0) is None


def test_validation_step__names_several_views():
    with pytest.raises(DataError, match="2 views, and MoSI takes one"):
        make().eval().validation_step({"input": [torch.randn(2, 3, 4, 8, 8)] * 2}, 0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"heads": "both"}, "joint"),
        ({"trunk": nn.Identity()}, "model.trunk is a Identity that does not tell its num_features"),
        ({"train_transform": nn.Identity()}, "train_transform is a Identity; MoSI needs"),
        ({"train_transform": None}, "train_transform is a NoneType; MoSI needs"),
    ],
)
def test_mosi_model__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        make(**keys)


@pytest.fixture(scope="module")
def two(run_program: Any, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of rank 0 and of rank 1."""
    folder = tmp_path_factory.mktemp("ranks")
    run_program(mosi_ranks.__file__, folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@both_heads
@without_validation
def test_two_processes__losses_and_weights_are_those_of_one(heads, two):
    one, results = mosi_ranks.fit(heads, rank=0, world=1), [rank[heads] for rank in two]
    means = torch.tensor([result["losses"] for result in results], dtype=torch.float64).mean(dim=0)
    torch.testing.assert_close(means, torch.tensor(one["losses"], dtype=torch.float64), rtol=2e-6, atol=2e-6)
    assert max(one["losses"]) - min(one["losses"]) > 1e-2  # the model moved
    torch.testing.assert_close(results[0]["state"], one["state"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[1]["state"], results[0]["state"], rtol=0, atol=0)
