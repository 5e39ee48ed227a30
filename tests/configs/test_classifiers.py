"""Losses and mixes of classifiers are chosen in a shipped recipe by an override, and train."""

from __future__ import annotations

import pytest
import torch

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build, problems

CHOICES = {
    "mixup": ["+transform/mix@model.train_mix=mixup"],
    "cutmix": ["+transform/mix@model.train_mix=cutmix"],
    "mixup_cutmix": ["+transform/mix@model.train_mix=mixup_cutmix", "model.train_mix.p=0.5"],
    "focal": ["model.loss=focal", f"model.class_weights={list(range(10))}"],
    "gamma": ["model.loss={name: focal, gamma: 1.5}", "model.label_smoothing=0.1"],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_classifiers__train_as_an_override_says(choice, tmp_path):
    recipe = "supervised_resnet18_cifar10"
    arguments = parse(["-cn", recipe, *CHOICES[choice], "dir.data=/data", f"dir.root={tmp_path}"])
    composer = Composer(find_recipe(arguments, "supervised"), "supervised")
    config = composer.resolve(composer.compose(arguments.overrides), tmp_path)
    assert list(problems(config)) == []
    model = build({**config["model"], "model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32**2, 10))})
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    batch = {"input": images, "label": torch.tensor([1, 2, 3, -1]), "idx": torch.arange(4)}
    loss = model.training_step(batch, 0)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
