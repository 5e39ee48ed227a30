import copy
import math
import warnings

import pytest
import torch
from torch import nn

from eztorch.schedulers import scheduler_factory
from eztorch.utils.errors import ConfigError

WARMUP_COSINE = "linear_warmup_cosine_annealing_lr"
# Each scheduler at its parameters, and its rates at steps 0, 1, ... written out by hand for a base rate of 1.
CASES = {
    "cosine_annealing_lr": (
        {"T_max": 4, "eta_min": 0.2},
        [0.2 + 0.8 * (1 + math.cos(math.pi * min(t, 4) / 4)) / 2 for t in range(8)],
    ),
    WARMUP_COSINE: (
        {"max_epochs": 6, "warmup_epochs": 2, "warmup_start_lr": 0.1, "eta_min": 0.2},
        [0.1, 0.55] + [0.2 + 0.8 * (1 + math.cos(math.pi * min(t, 4) / 4)) / 2 for t in range(6)],
    ),
    "multi_step_lr": ({"milestones": [2, 5], "gamma": 0.5}, [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
}


def make_optimizer(*scales: float, lr: float = 1.0) -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": lr * s, "lr_scale": s} for s in scales or (1.0,)]
    return torch.optim.SGD(groups)


def follow(optimizer, scheduler, steps: int) -> list[list[float]]:
    """Return the rates of all groups that each of the next optimizer steps uses."""
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def rates_of(name, params, steps, *scales, lr=1.0, **kwargs) -> list[list[float]]:
    optimizer = make_optimizer(*scales, lr=lr)
    return follow(optimizer, scheduler_factory(optimizer, name, params, **kwargs)["scheduler"], steps)


@pytest.mark.parametrize("name", CASES)
def test_scheduler_factory__follows_the_closed_form_at_every_epoch(name):
    params, expected = CASES[name]
    assert [rate for (rate,) in rates_of(name, params, 8)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_scheduler_factory__interval_step_scales_every_length(name):
    params, _ = CASES[name]
    steps = 3
    stretched = {
        key: [m * steps for m in value] if key == "milestones" else value * steps
        for key, value in params.items()
        if key in {"T_max", "max_epochs", "warmup_epochs", "milestones"}
    }
    by_step = rates_of(name, params, 24, interval="step", num_steps_per_epoch=steps)
    assert by_step == rates_of(name, {**params, **stretched}, 24)
    by_epoch = rates_of(name, params, 8)
    assert by_step[::steps] == [pytest.approx(rates) for rates in by_epoch]


@pytest.mark.parametrize("name", CASES)
def test_scheduler_factory__every_scheduler_honours_the_scale_of_each_group(name):
    params, expected = CASES[name]
    for rates, base in zip(rates_of(name, params, 8, 1.0, 0.5, 0.01), expected, strict=True):
        assert rates == pytest.approx([base, 0.5 * base, 0.01 * base], rel=1e-12)


def test_scheduler_factory__an_optimizer_without_scales_keeps_the_base_rates_of_its_groups():
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    scheduler = scheduler_factory(optimizer, "cosine_annealing_lr", {"T_max": 2})["scheduler"]
    assert follow(optimizer, scheduler, 3) == [pytest.approx(r, abs=1e-12) for r in ([1, 0.1], [0.5, 0.05], [0, 0])]


def test_scheduler_factory__reaches_the_base_rate_exactly_at_the_end_of_the_warm_up():
    params = {"max_epochs": 10, "warmup_epochs": 3, "warmup_start_lr": 0.0}
    rates = [r for (r,) in rates_of(WARMUP_COSINE, params, 40, lr=0.7, interval="step", num_steps_per_epoch=4)]
    assert rates.index(0.7) == 12
    assert rates.count(0.7) == 1
    assert max(rates) == 0.7


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_scheduler_factory__a_warm_up_of_nothing_of_one_and_of_everything(warmup):
    rates = [r for (r,) in rates_of(WARMUP_COSINE, {"max_epochs": 5, "warmup_epochs": warmup}, 8)]
    assert rates[0] == (1.0 if warmup == 0 else 0.0)
    assert rates[5:] == [0.0, 0.0, 0.0]


def test_scheduler_factory__the_warm_up_may_be_a_fraction_of_an_epoch():
    params = {"max_epochs": 2, "warmup_epochs": 0.3}
    rates = [r for (r,) in rates_of(WARMUP_COSINE, params, 6, interval="step", num_steps_per_epoch=10)]
    assert rates[:4] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert rates[3] == 1.0


def test_scheduler_factory__start_and_minimum_follow_the_scaling_of_the_base_rate():
    params = {"max_epochs": 3, "warmup_epochs": 1, "warmup_start_lr": 0.1, "eta_min": 0.01}
    rates = rates_of(WARMUP_COSINE, params, 5, lr=4.0, scaler="linear", batch_size=512, multiply_lr=2.0)
    assert [r for (r,) in rates] == pytest.approx([0.4, 4.0, 2.02, 0.04, 0.04])


def test_scheduler_factory__gives_lightnings_mapping():
    mapping = scheduler_factory(make_optimizer(), "multi_step_lr", {"milestones": [1]}, interval="epoch")
    assert {key: mapping[key] for key in ("interval", "frequency")} == {"interval": "epoch", "frequency": 1}
    assert isinstance(mapping["scheduler"], torch.optim.lr_scheduler.LRScheduler)


@pytest.mark.parametrize("name", CASES)
def test_scheduler_factory__changes_nothing_of_what_it_is_passed(name):
    params = copy.deepcopy(CASES[name][0])
    arguments = {"interval": "step", "num_steps_per_epoch": 7, "scaler": "linear", "batch_size": 512}
    first = rates_of(name, params, 9, **arguments)
    assert params == CASES[name][0]
    assert rates_of(name, params, 9, **arguments) == first


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stop", [0, 1, 3, 7])
def test_scheduler_factory__resuming_gives_the_rates_of_the_uninterrupted_run(name, stop):
    def fresh():
        optimizer = make_optimizer(1.0, 0.1)
        return optimizer, scheduler_factory(optimizer, name, CASES[name][0])["scheduler"]

    whole = follow(*fresh(), 8)
    optimizer, scheduler = fresh()
    begun = follow(optimizer, scheduler, stop)
    saved = optimizer.state_dict(), scheduler.state_dict()

    optimizer, scheduler = fresh()
    optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
    assert begun + follow(optimizer, scheduler, 8 - stop) == whole


def test_scheduler_factory__its_state_is_the_step_alone():
    optimizer = make_optimizer()
    scheduler = scheduler_factory(optimizer, "cosine_annealing_lr", {"T_max": 4})["scheduler"]
    follow(optimizer, scheduler, 3)
    assert scheduler.state_dict() == {"last_epoch": 3}


def test_scheduler_factory__a_skipped_optimizer_step_counts_and_warns_of_nothing():
    optimizer = make_optimizer()
    scheduler = scheduler_factory(optimizer, "cosine_annealing_lr", {"T_max": 2})["scheduler"]
    scaler = torch.amp.GradScaler("cpu")
    parameter = optimizer.param_groups[0]["params"][0]
    scaler.scale(parameter.sum() * math.inf).backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaler.step(optimizer)
        scheduler.step()
    assert parameter.tolist() == [0.0, 0.0]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "params", "kwargs", "message"),
    [
        ("cosine", {"T_max": 3}, {}, r"scheduler.name='cosine' is not known.*'multi_step_lr'"),
        (WARMUP_COSINE, {"max_epochs": 3, "warmup_epochs": 4}, {}, r"warmup_epochs=4 is longer than max_epochs=3"),
        (WARMUP_COSINE, {"max_epochs": 3, "warmup_epoch": 1}, {}, r"warmup_epoch .*Did you mean 'warmup_epochs'"),
        (WARMUP_COSINE, {"warmup_epochs": 1}, {}, r"scheduler.params.max_epochs is missing"),
        (WARMUP_COSINE, {"max_epochs": 3, "warmup_epochs": -1}, {}, r"warmup_epochs=-1 must not be negative"),
        ("cosine_annealing_lr", {"T_max": -1}, {}, r"T_max=-1 must not be negative"),
        ("multi_step_lr", {"milestones": [5, 2]}, {}, r"milestones=\[5, 2\] must be positions in rising order"),
        ("multi_step_lr", {"milestones": [2], "gamma": -1}, {}, r"gamma=-1 must not be negative"),
        ("cosine_annealing_lr", {"T_max": 3}, {"interval": "steps"}, r"interval='steps'.*Did you mean 'step'"),
        ("cosine_annealing_lr", {"T_max": 3}, {"interval": "step"}, r"interval='step' needs num_steps_per_epoch"),
        ("cosine_annealing_lr", {"T_max": 3}, {"scaler": "linear"}, r"scaler='linear' needs batch_size"),
    ],
)
def test_scheduler_factory__says_what_is_wrong(name, params, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        scheduler_factory(make_optimizer(), name, params, **kwargs)
