import copy

import pytest
import torch
from torch import nn

from eztorch.optimizers import LARS, optimizer_factory, optimizer_factory_two_groups
from eztorch.utils.config import build, problems
from eztorch.utils.errors import ConfigError

SCHEDULER = {
    "_target_": "eztorch.schedulers.scheduler_factory",
    "_recursive_": False,
    "name": "linear_warmup_cosine_annealing_lr",
    "params": {"max_epochs": 4, "warmup_epochs": 1, "warmup_start_lr": 0.0, "eta_min": 0.01},
    "interval": "step",
}
SCHEDULERS = {
    "linear_warmup_cosine_annealing_lr": SCHEDULER["params"],
    "cosine_annealing_lr": {"T_max": 4, "eta_min": 0.01},
    "multi_step_lr": {"milestones": [1, 3]},
}


@pytest.mark.parametrize(
    ("name", "kind", "params"),
    [
        ("adam", torch.optim.Adam, {"weight_decay": 0.1, "eps": 1e-6}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.05}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("lars", LARS, {"momentum": 0.9, "trust_coefficient": 0.001, "weight_decay": 1e-6}),
    ],
)
def test_optimizer_factory__makes_the_optimizer_of_a_name_and_it_learns(trunk, name, kind, params):
    given = copy.deepcopy(params)
    optimizer, scheduler = optimizer_factory(name, 0.1, trunk, params=params)
    assert type(optimizer) is kind
    assert scheduler is None
    assert params == given
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in params} == params
    before = trunk.block1[0].weight.detach().clone()
    trunk.block1(torch.ones(3, 4)).pow(3).sum().backward()
    optimizer.step()
    assert not torch.equal(trunk.block1[0].weight, before)


def test_optimizer_factory__scales_the_rate(trunk):
    optimizer, _ = optimizer_factory("sgd", 2.4, trunk, batch_size=512, scaler="linear", multiply_lr=0.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2.4)


def test_optimizer_factory__weight_decay_is_that_of_params_except_where_it_is_excluded(trunk):
    optimizer, _ = optimizer_factory("adamw", 0.1, trunk, params={"weight_decay": 0.3}, exclude_wd_bias=True)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_optimizer_factory__a_second_call_is_not_changed_by_the_first(trunk):
    optimizer_factory("sgd", 0.1, trunk, exclude_wd_bias=True, exclude_wd_norm=True, params={"weight_decay": 0.1})
    optimizer, _ = optimizer_factory("sgd", 0.1, trunk, params={"weight_decay": 0.1})
    assert len(optimizer.param_groups) == 1
    assert len(optimizer.param_groups[0]["params"]) == len(list(trunk.parameters()))


def test_optimizer_factory__divides_the_weight_decay_by_the_scaled_rate(trunk):
    params = {"weight_decay": 0.02}
    arguments = {"batch_size": 512, "scaler": "linear", "params": params, "divide_wd_by_lr": True}
    for _ in range(2):
        optimizer, _ = optimizer_factory("adamw", 0.1, trunk, **arguments)
        assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.1)
    assert params == {"weight_decay": 0.02}


def test_optimizer_factory__the_scheduler_receives_the_scaling_and_the_steps(trunk):
    spec = copy.deepcopy(SCHEDULER)
    arguments = {"batch_size": 512, "scaler": "linear", "num_steps_per_epoch": 2, "scheduler": spec}
    optimizer, mapping = optimizer_factory("lars", 2.0, trunk, **arguments)
    assert mapping["interval"] == "step"
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        mapping["scheduler"].step()
    assert rates[:3] == [0.0, 2.0, 4.0]
    assert rates[8] == pytest.approx(0.02)
    assert spec == SCHEDULER


@pytest.mark.parametrize("name", [None, *SCHEDULERS])
def test_optimizer_factory__layer_decay_is_honoured_by_every_scheduler_and_without_one(trunk, name):
    spec = None if name is None else {**SCHEDULER, "name": name, "params": SCHEDULERS[name], "interval": "epoch"}
    optimizer, mapping = optimizer_factory("sgd", 1.0, trunk, layer_decay_lr=0.5, scheduler=spec)
    rates = []
    for _ in range(6):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if mapping is not None:
            mapping["scheduler"].step()
    for first, second, third in rates:
        assert (first, second) == (pytest.approx(third / 4), pytest.approx(third / 2))
    assert name is None or len({last for *_, last in rates}) > 1


def test_optimizer_factory__the_seed_recipe_builds_from_its_specification(trunk):
    spec = {
        "_target_": "eztorch.optimizers.optimizer_factory",
        "_recursive_": False,
        "exclude_wd_norm": False,
        "exclude_wd_bias": False,
        "name": "lars",
        "params": {"momentum": 0.9, "trust_coefficient": 0.001, "weight_decay": 1.0e-06},
        "batch_size": 512,
        "initial_lr": 2.4,
        "layer_decay_lr": None,
        "scaler": "linear",
        "scheduler": {**SCHEDULER, "params": {**SCHEDULER["params"], "max_epochs": 200, "warmup_epochs": 35}},
    }
    optimizer, mapping = build(spec, model=trunk, num_steps_per_epoch=3)
    for _ in range(35 * 3):
        optimizer.step()
        mapping["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == 4.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adamax"}, r"optimizer.name='adamax'.*'adam', 'adamw', 'lars', 'sgd'"),
        ({"initial_lr": 0.0}, r"optimizer.initial_lr=0.0 .* must be positive"),
        ({"params": {"momentun": 0.9}}, r"unknown key 'momentun'. Did you mean 'momentum'"),
        ({"params": {"lr": 0.9}}, r"optimizer.params.lr=0.9: the rate is optimizer.initial_lr"),
        ({"scaler": "linear"}, r"scaler='linear' needs batch_size"),
        ({"divide_wd_by_lr": True}, r"divide_wd_by_lr needs optimizer.params.weight_decay"),
        ({"scheduler": {"name": "cosine_annealing_lr"}}, r"optimizer.scheduler=.* must be a mapping with a _target_"),
        ({"scheduler": SCHEDULER}, r"interval='step' needs num_steps_per_epoch"),
    ],
)
def test_optimizer_factory__says_what_is_wrong(arguments, message):
    with pytest.raises(ConfigError, match=message):
        optimizer_factory(**{"name": "sgd", "initial_lr": 0.1, "model": nn.Linear(2, 2), **arguments})


def two_parts():
    parts = {"trunk": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "classifier": nn.Linear(4, 2)}
    return nn.ModuleDict(parts)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_optimizer_factory_two_groups__keeps_the_ratio_with_and_without_decay_at_every_step(name):
    model = two_parts()
    scheduler = {**SCHEDULER, "name": name, "params": SCHEDULERS[name]}
    optimizer, mapping = optimizer_factory_two_groups(
        "lars",
        0.2,
        0.8,
        model,
        exclude_wd_bias=True,
        exclude_wd_norm=True,
        params={"weight_decay": 0.1},
        scheduler=scheduler,
        num_steps_per_epoch=3,
    )
    plain, plain_mapping = optimizer_factory("lars", 0.8, model, scheduler=scheduler, num_steps_per_epoch=3)
    trunk = {id(parameter) for parameter in model["trunk"].parameters()}
    assert len(optimizer.param_groups) == 4
    for _ in range(12):
        (base,) = plain.param_groups
        for group in optimizer.param_groups:
            expected = base["lr"] / 4 if id(group["params"][0]) in trunk else base["lr"]
            assert group["lr"] == pytest.approx(expected)
        mapping["scheduler"].step()
        plain_mapping["scheduler"].step()


def test_optimizer_factory_two_groups__has_further_factors():
    further = [{"params": r"trunk\.0\.", "lr": 0.5}]
    optimizer, _ = optimizer_factory_two_groups("sgd", 0.1, 1.0, two_parts(), multiply_parameters=further)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.05, 0.1, 1.0])


def test_optimizer_factory_two_groups__says_what_cannot_be():
    model = two_parts()
    with pytest.raises(ConfigError, match="initial_lr1=0 must be positive; a part that does not learn is frozen"):
        optimizer_factory_two_groups("sgd", 0, 0.1, model)
    with pytest.raises(ConfigError, match="rates for trunk and head; what learns of ModuleDict is classifier, trunk"):
        optimizer_factory_two_groups("sgd", 0.1, 0.1, model, second="head")
    model["trunk"].requires_grad_(False)
    with pytest.raises(ConfigError, match="what learns of ModuleDict is classifier"):
        optimizer_factory_two_groups("sgd", 0.1, 0.1, model)


def test_optimizer_factory_two_groups__builds_from_its_specification():
    spec = {"_target_": "eztorch.optimizers.optimizer_factory_two_groups", "name": "sgd", "initial_lr1": 0.1}
    optimizer, _ = build({**spec, "initial_lr2": 0.2}, model=two_parts(), num_steps_per_epoch=2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    assert list(problems({**spec, "initial_lr_2": 0.2})) == [
        "<root>: unknown key 'initial_lr_2'. Did you mean 'initial_lr2'? "
        "(eztorch.optimizers.optimizer_factory_two_groups)"
    ]
