import pytest
import torch
from torch import nn

from eztorch.modules import SplitBatchNorm3d
from eztorch.optimizers import param_groups
from eztorch.utils.errors import ConfigError


def names_by(model, groups, key):
    """Return the names of the parameters by the value that their group has for a key."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[object, set[str]] = {}
    for group in groups:
        found.setdefault(group.get(key), set()).update(names[id(parameter)] for parameter in group["params"])
    return found


def test_param_groups__without_options_is_one_group_at_the_base_rate(trunk):
    (group,) = param_groups(trunk, 0.3)
    assert [id(p) for p in group["params"]] == [id(p) for p in trunk.parameters()]
    assert {key: value for key, value in group.items() if key != "params"} == {"lr": 0.3, "lr_scale": 1.0}


OPTIONS = [
    {"exclude_wd_norm": True},
    {"exclude_wd_bias": True},
    {"keys_without_decay": ["pos_embed"]},
    {"layer_decay_lr": 0.5},
    {"multiply_parameters": [{"params": "block1", "lr": 2}]},
]


@pytest.mark.parametrize(
    "options", [*OPTIONS, {key: value for options in OPTIONS for key, value in options.items()}], ids=str
)
def test_param_groups__every_parameter_is_in_exactly_one_group(trunk, options):
    groups = param_groups(trunk, 0.1, **options)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in trunk.parameters())
    assert all(group["params"] for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


def test_param_groups__excludes_biases_by_the_last_part_of_the_name(trunk):
    groups = param_groups(trunk, 0.1, exclude_wd_bias=True)
    assert names_by(trunk, groups, "weight_decay")[0.0] == {"block1.0.bias", "block1.1.bias", "block2.1.bias"}
    assert [group["name"] for group in groups] == ["decay", "no_decay"]


def test_param_groups__excluding_biases_leaves_nothing_behind_for_the_next_call(trunk):
    param_groups(trunk, 0.1, exclude_wd_bias=True)
    assert len(param_groups(trunk, 0.1)) == 1


def test_param_groups__a_name_that_only_contains_the_key_keeps_its_weight_decay():
    model = nn.Module()
    model.relative_position_bias = nn.Linear(2, 2, bias=False)
    model.debias = nn.Parameter(torch.zeros(2))
    assert names_by(model, param_groups(model, 0.1, exclude_wd_bias=True), "weight_decay") == {
        None: {"relative_position_bias.weight", "debias"}
    }


class OwnNorm(nn.LayerNorm):
    pass


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4),
        nn.BatchNorm3d(4),
        nn.SyncBatchNorm(4),
        SplitBatchNorm3d(4, num_splits=2),
        nn.LayerNorm(4),
        nn.GroupNorm(2, 4),
        nn.InstanceNorm3d(4, affine=True),
        nn.RMSNorm(4),
        OwnNorm(4),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_param_groups__excludes_the_parameters_of_every_norm(norm):
    model = nn.Sequential(nn.Linear(4, 4), norm)
    groups = param_groups(model, 0.1, exclude_wd_norm=True)
    assert names_by(model, groups, "weight_decay") == {
        None: {"0.weight", "0.bias"},
        0.0: {f"1.{name}" for name, _ in norm.named_parameters()},
    }


def test_param_groups__keys_without_decay_match_whole_parts_from_the_end(trunk):
    groups = param_groups(trunk, 0.1, keys_without_decay=["pos_embed", "block1.0.weight"])
    assert names_by(trunk, groups, "weight_decay")[0.0] == {"pos_embed", "block1.0.weight"}


@pytest.mark.parametrize("key", ["embed", "cls_token", "0.bias.x"])
def test_param_groups__a_key_that_matches_nothing_is_an_error(trunk, key):
    with pytest.raises(ConfigError, match=f"keys_without_decay: no name of a parameter ends in '{key}'"):
        param_groups(trunk, 0.1, keys_without_decay=[key])


def test_param_groups__layer_decay_is_in_the_rates_of_the_groups(trunk):
    groups = param_groups(trunk, 0.8, layer_decay_lr=0.5)
    assert names_by(trunk, groups, "lr") == {
        0.2: {"pos_embed"},
        0.4: {"block1.0.weight", "block1.0.bias", "block1.1.weight", "block1.1.bias"},
        0.8: {"block2.0.weight", "block2.1.weight", "block2.1.bias"},
    }
    assert [group["lr_scale"] for group in groups] == [0.25, 0.5, 1.0]
    assert [group["name"] for group in groups] == ["layer_0_decay", "layer_1_decay", "layer_2_decay"]


def test_param_groups__multiply_parameters_multiplies_the_rates_of_what_it_matches(trunk):
    entries = [{"params": "block", "lr": 0.5}, {"params": r".*\.bias", "lr": 3.0}]
    groups = param_groups(trunk, 0.1, multiply_parameters=entries)
    assert names_by(trunk, groups, "lr_scale") == {
        1.0: {"pos_embed"},
        0.5: {"block1.0.weight", "block1.1.weight", "block2.0.weight", "block2.1.weight"},
        1.5: {"block1.0.bias", "block1.1.bias", "block2.1.bias"},
    }
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.05, 0.15])


def test_param_groups__layer_decay_and_multiplied_parameters_combine(trunk):
    groups = param_groups(trunk, 1.0, layer_decay_lr=0.5, multiply_parameters=[{"params": "block1.0", "lr": 10}])
    assert names_by(trunk, groups, "lr")[5.0] == {"block1.0.weight", "block1.0.bias"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"params": "head", "lr": 2}, "no name of a parameter matches 'head'"),
        ({"params": "(", "lr": 2}, "'\\(' is no regular expression"),
        ({"params": "block1"}, "must be {params: pattern, lr: positive factor}"),
        ({"params": "block1", "lr": 0}, "must be {params: pattern, lr: positive factor}"),
        ({"params": "block1", "lr": 1, "wd": 2}, "must be {params: pattern, lr: positive factor}"),
    ],
)
def test_param_groups__says_what_is_wrong_with_an_entry_of_multiply_parameters(trunk, entry, message):
    with pytest.raises(ConfigError, match=message):
        param_groups(trunk, 0.1, multiply_parameters=[entry])


def test_param_groups__leaves_out_frozen_parameters(trunk):
    trunk.block1.requires_grad_(False)
    assert names_by(trunk, param_groups(trunk, 0.1), "lr") == {
        0.1: {"pos_embed", "block2.0.weight", "block2.1.weight", "block2.1.bias"}
    }


def test_param_groups__a_model_may_name_its_learnable_parameters(trunk):
    trunk.learnable_params = [trunk.pos_embed, *trunk.block1[0].parameters()]
    trunk.block1[0].bias.requires_grad_(False)
    assert names_by(trunk, param_groups(trunk, 0.1), "lr") == {0.1: {"pos_embed", "block1.0.weight"}}


def test_param_groups__a_shared_parameter_is_taken_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    (group,) = param_groups(model, 0.1)
    assert len(group["params"]) == 3


def test_param_groups__nothing_to_learn_is_an_error(trunk):
    with pytest.raises(ConfigError, match="Trunk has no parameter to optimize"):
        param_groups(trunk.requires_grad_(False), 0.1)


def test_param_groups__layer_decay_needs_a_model_that_tells_its_layers():
    with pytest.raises(ConfigError, match=r"layer_decay_lr=0.5 needs .*`num_layers`, `get_param_layer_id`"):
        param_groups(nn.Linear(2, 2), 0.1, layer_decay_lr=0.5)


def test_param_groups__a_layer_that_does_not_exist_is_an_error(trunk):
    trunk.num_layers = 2
    with pytest.raises(ConfigError, match=r"block2.0.weight is in layer 2, and there are layers 0 to 1"):
        param_groups(trunk, 0.1, layer_decay_lr=0.5)


def test_param_groups__a_layer_decay_of_zero_is_an_error(trunk):
    with pytest.raises(ConfigError, match="layer_decay_lr=0 must be positive"):
        param_groups(trunk, 0.1, layer_decay_lr=0)
