"""Every group of heads can be chosen in a shipped recipe, and makes a model that gives what its page says."""

from __future__ import annotations

import pytest
import torch

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build, problems

RECIPE = "supervised_r3d18_kinetics200"
NO_TRUNK = ["~model/trunk@model.model", "~model.model.head"]
SMALL = ["+model.model.model.stem_dim_out=4", "model.model.head.in_features=32"]
WITH_HEAD = ["model/trunk@model.model=with_head"]
# Overrides, shape of the input, shape of the output.
CHOICES = {
    "recipe": (SMALL, (2, 3, 2, 32, 32), (2, 200)),
    "linear3d": (["model/head@model.model.head=linear3d", *SMALL], (2, 3, 2, 32, 32), (2, 200)),
    "temporal": (
        ["model/head@model.model.head=video_resnet_temporal", "~model.model.head.pool", *SMALL],
        (2, 3, 2, 32, 32),
        (2, 2, 200),
    ),
    "tokens": (
        [*WITH_HEAD, "+model.model.model.transformer.depth=1", "model.model.head.in_features=192"],
        (2, 3, 4, 32, 32),
        (2, 200),
    ),
    "linear": (
        [*NO_TRUNK, "+model/head@model.model=linear", "model.model.input_dim=16", "model.model.output_dim=5"],
        (2, 16),
        (2, 5),
    ),
    "features": (
        [
            *NO_TRUNK,
            "+model/head@model.model=mlp",
            "model.model.input_dim=16",
            "model.model.hidden_dims=8",
            "model.model.num_layers=2",
            "model.model.output_dim=5",
        ],
        (2, 16),
        (2, 5),
    ),
}


def model_of(overrides, tmp_path):
    arguments = parse(["-cn", RECIPE, *overrides, "dir.data=/data", f"dir.root={tmp_path}"])
    composer = Composer(find_recipe(arguments, "supervised"), "supervised")
    config = composer.resolve(composer.compose(arguments.overrides), tmp_path)
    assert list(problems(config)) == []
    return build(config["model"])


@pytest.mark.parametrize("choice", CHOICES)
def test_heads__are_chosen_by_an_override(choice, tmp_path):
    overrides, given, expected = CHOICES[choice]
    model = model_of(overrides, tmp_path)
    assert model(torch.randn(given)).shape == expected
    assert {model.get_param_layer_id(name) for name, _ in model.named_parameters()} == set(range(model.num_layers))
