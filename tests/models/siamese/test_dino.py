"""DINO: centre, temperature and the prototypes of the first epochs."""

from __future__ import annotations

from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from timm.layers import DropPath as TimmDropPath
from torch.utils.data import default_collate
from torchvision.ops import StochasticDepth

from eztorch.losses import dino_loss
from eztorch.models.trunks.transformer import DropPath
from eztorch.utils.errors import ConfigError


class History(Callback):
    def __init__(self) -> None:
        self.temperatures: list[float] = []
        self.centres: list[torch.Tensor] = []
        self.prototypes: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.temperatures.append(outputs["scalars"]["pretrain/temp_m"])
        self.centres.append(pl_module.centre.clone())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.prototypes.append(pl_module.projector.prototypes.weight.detach().clone())


def _decaying(model: LightningModule, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    """Momentum and decay would move weights whose gradient is only zero."""
    return torch.optim.SGD(model.learnable_params, lr=0.1, momentum=0.9, weight_decay=0.1), None


@pytest.mark.parametrize("frozen", [0, 2])
def test_prototypes__stay_as_they_are_in_the_first_epochs_and_learn_afterwards(fit, tiny, frozen):
    model, history = methods.make("dino", freeze_last_layer_epochs=frozen, optimizer=_decaying), History()
    first = model.projector.prototypes.weight.detach().clone()
    fit(model, data=tiny.Views(12), max_epochs=3, callbacks=[history])
    for epoch, prototypes in enumerate(history.prototypes):
        assert torch.equal(prototypes, first) == (epoch < frozen)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_centre__moves_to_the_mean_of_the_teachers_outputs_once_an_optimizer_step(fit, tiny, accumulate):
    model, history = methods.make("dino", centre_momentum=0.8, optimizer=tiny.still), History()
    data = tiny.Views(16)
    with torch.no_grad():
        outputs = torch.stack([model.target.encode(view)[1] for view in data.views])  # the teacher stands still
    fit(model, data=data, batch_size=4, accumulate_grad_batches=accumulate, callbacks=[history])
    centre = torch.zeros(6)
    for number in range(4):
        if (number + 1) % accumulate == 0:
            first = 4 * (number + 1 - accumulate)
            centre = 0.8 * centre + 0.2 * outputs[:, first : 4 * (number + 1)].mean(dim=(0, 1))
        torch.testing.assert_close(history.centres[number], centre)
    assert model.state_dict()["centre"].abs().max() > 0


def test_temperature__of_the_teacher_warms_up_in_equal_steps_and_stays(fit, tiny):
    keys = {"start_warmup_temp_m": 0.04, "temp_m": 0.08, "warmup_epoch_temp_m": 2}
    history = History()
    fit(methods.make("dino", **keys), data=tiny.Views(8), max_epochs=3, callbacks=[history])
    assert history.temperatures == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.08, 0.08])


def test_step__centres_the_teacher_of_global_crops_and_asks_all_others(tiny):
    shapes = ((3, 4, 4), (3, 4, 4), (3, 2, 2))
    model = methods.make("dino", num_local_crops=1, temp=0.2, temp_m=0.05, start_warmup_temp_m=0.05)
    model.centre.copy_(torch.linspace(-0.5, 0.5, 6))
    with torch.no_grad():
        for parameter in model.projector.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # the teacher is another network
    data = tiny.Views(6, shapes)
    batch = default_collate([data[i] for i in range(6)])
    teacher = [model.target.encode(view)[1] for view in batch["input"][:2]]
    student = [model(view) for view in batch["input"]]
    losses = [
        dino_loss(student[query], teacher[key], temp=0.2, temp_m=0.05, centre=model.centre)
        for key in (0, 1)
        for query in range(3)
        if query != key
    ]
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], torch.stack(losses).mean())


class Branches(torch.nn.Module):
    """A trunk with a residual branch that is dropped in training."""

    num_features = 16

    def __init__(self, drop: torch.nn.Module) -> None:
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(48, 16), drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.linear(x.flatten(1)[:, None])
        return (tokens + self.drop(tokens))[:, 0]


@pytest.mark.parametrize("drop", [DropPath(0.5), StochasticDepth(0.5, "row"), TimmDropPath(0.5)])
def test_step__the_student_alone_drops_branches(tiny, drop):
    model, (view,) = methods.make("dino", trunk=Branches(drop)), tiny.Views(8, ((3, 4, 4),)).views
    assert torch.equal(model.target.encode(view)[1], model.target.encode(view)[1])
    assert not torch.equal(model(view), model(view))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"projector": None}, "The projector of DINO gives the scores"),
        ({"projector": torch.nn.Linear(16, 4)}, r"write model\.projector\._target_=eztorch\.models\.heads\.DINOHead"),
        ({"predictor": torch.nn.Linear(6, 6)}, r"model\.predictor=null"),
        ({"normalize_outputs": True}, r"model\.normalize_outputs=false"),
        ({"centre_momentum": 1.1}, r"centre_momentum=1\.1; expected a value from 0 to 1"),
        ({"start_warmup_temp_m": 0}, "start_warmup_temp_m=0; expected a value above 0"),
        ({"freeze_last_layer_epochs": -1}, "freeze_last_layer_epochs=-1; expected a value of at least 0"),
    ],
)
def test_dino_model__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        methods.make("dino", **keys)
