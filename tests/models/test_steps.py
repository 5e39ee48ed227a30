import random

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule
from tiny_classifier import OPTIMIZER, make_model, make_trainer
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from eztorch.models.steps import (
    apply_transform,
    build_transform,
    configure_optimizer,
    is_empty,
    seed_step,
    steps_per_epoch,
    total_steps,
)
from eztorch.utils.errors import ConfigError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # the data is in memory
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),  # Lightning 2.6, torch 2.15
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),  # some tests only train
    pytest.mark.filterwarnings("ignore:The `srun` command is available"),  # where SLURM is installed
]


def draw_after_seeding(batch_idx):
    seed_step(LightningModule(), batch_idx)
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_seed_step__the_same_step_draws_the_same_and_another_does_not(monkeypatch):
    first = draw_after_seeding(3)
    torch.rand(7)
    assert draw_after_seeding(3) == first
    assert all(a != b for a, b in zip(draw_after_seeding(4), first, strict=True))
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert all(a != b for a, b in zip(draw_after_seeding(3), first, strict=True))


def test_is_empty__of_a_batch_of_failures_alone():
    assert is_empty({"input": None, "failures": [1]})
    assert not is_empty({"input": torch.zeros(1)})
    assert not is_empty({"input": [torch.zeros(1)]})


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x, x]])
def test_apply_transform__runs_in_float32_without_gradients(wrap):
    seen = {}

    def transform(inputs):
        first = inputs[0] if isinstance(inputs, list) else inputs
        seen.update(autocast=torch.is_autocast_enabled("cpu"), gradients=torch.is_grad_enabled())
        return first @ first

    with torch.autocast("cpu", torch.bfloat16):
        result = apply_transform(transform, wrap(torch.ones(2, 2, requires_grad=True)))
    assert seen == {"autocast": False, "gradients": False}
    assert result.dtype == torch.float32
    assert not result.requires_grad


def test_apply_transform__none_leaves_the_values_as_they_are():
    view = torch.zeros(1)
    assert apply_transform(None, view) is view
    (same,) = apply_transform(None, [view])
    assert same is view


@pytest.mark.parametrize("transform", [None, lambda views: views])
def test_apply_transform__gives_contiguous_memory(transform):
    view = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3).permute(0, 3, 1, 2)
    for given in (apply_transform(transform, view), *apply_transform(transform, [view, view])):
        assert given.is_contiguous()
        assert given.equal(view)


def test_build_transform__its_constants_follow_the_model_but_are_not_in_checkpoints():
    module = nn.Module()
    module.transform = build_transform(
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.Flatten"}]}
    )
    assert isinstance(module.transform[0], nn.Flatten)
    inner = nn.Sequential(nn.BatchNorm1d(2, affine=False))
    assert build_transform(inner) is inner
    assert inner.state_dict() == {}
    assert inner.double()[0].running_mean.dtype == torch.float64


def test_build_transform__leaves_functions_and_none():
    assert build_transform(len) is len
    assert build_transform(None) is None


class Inspect(LightningModule):
    """Notes the lengths of the run where an optimizer is made."""

    def __init__(self, spec=None):
        super().__init__()
        self.layer, self.spec, self.lengths = nn.Linear(2, 1), spec, None

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        self.lengths = (steps_per_epoch(self.trainer), total_steps(self.trainer))
        return torch.optim.SGD(self.parameters(), lr=0.1)


def lengths_and_steps(batches, **options):
    trainer, model = make_trainer(**options), Inspect()
    trainer.fit(model, DataLoader(torch.zeros(2 * batches, 2), batch_size=2))
    return model.lengths, trainer.global_step


@pytest.mark.parametrize(
    ("options", "per_epoch", "total"),
    [
        ({"max_epochs": 2}, 5, 10),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 3, 6),
        ({"max_epochs": 2, "limit_train_batches": 4}, 4, 8),
        ({"max_epochs": 2, "max_steps": 3}, 5, 3),
        ({"max_epochs": -1, "max_steps": 7}, 5, 7),
        ({"max_epochs": 1, "limit_train_batches": 1, "accumulate_grad_batches": 8}, 1, 1),
    ],
)
def test_lengths__are_those_of_the_run(options, per_epoch, total):
    assert lengths_and_steps(5, **options) == ((per_epoch, total), total)


def test_total_steps__of_a_run_without_an_end_is_an_error():
    with pytest.raises(ConfigError, match=r"trainer.max_epochs=-1 and trainer.max_steps=-1 give a run without an end"):
        lengths_and_steps(5, max_epochs=-1, max_steps=-1)


def test_steps_per_epoch__of_a_loader_without_a_length_is_an_error():
    class Endless(IterableDataset):
        def __iter__(self):
            yield torch.zeros(2)

    with pytest.raises(ConfigError, match=r"no length; write trainer.limit_train_batches"):
        make_trainer().fit(Inspect(), DataLoader(Endless(), batch_size=2))


def fitted(optimizer):
    """Fit a classifier for an epoch of four batches; return its trainer."""
    batch = {"input": torch.zeros(2, 8), "label": torch.tensor([0, 1]), "idx": torch.tensor([0, 1])}
    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_model(optimizer=optimizer), DataLoader([batch] * 4, batch_size=None))
    return trainer


def test_configure_optimizer__builds_the_factory_and_leaves_it_the_scheduler():
    trainer = fitted({**OPTIMIZER, "scheduler": {**OPTIMIZER["scheduler"], "params": {"max_epochs": 2}}})
    (config,) = trainer.lr_scheduler_configs
    assert (config.interval, config.frequency) == ("step", 1)
    assert config.scheduler.last_epoch == 4
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25)


def test_configure_optimizer__takes_a_callable_and_no_scheduler():
    def factory(model, num_steps_per_epoch):
        return torch.optim.SGD(model.parameters(), lr=0.1 * num_steps_per_epoch), None

    trainer = fitted(factory)
    assert trainer.lr_scheduler_configs == []
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.4)


@pytest.mark.parametrize("spec", [None, "sgd", {"name": "sgd"}])
def test_configure_optimizer__anything_else_is_an_error(spec):
    with pytest.raises(ConfigError, match=r"model.optimizer=.* must be a mapping with a _target_"):
        fitted(spec)


def test_configure_optimizer__is_what_models_return(monkeypatch):
    model = make_model()
    trainer = make_trainer()
    monkeypatch.setattr("eztorch.models.steps.steps_per_epoch", lambda trainer: 3)
    model.trainer = trainer
    configured = configure_optimizer(model, OPTIMIZER)
    assert set(configured) == {"optimizer", "lr_scheduler"}
