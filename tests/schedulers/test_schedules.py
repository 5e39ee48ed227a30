import math

import pytest

from eztorch.schedulers import constant, cosine, linear, momentum_at, ramp, warmed_up
from eztorch.utils.errors import ConfigError

RISING_AND_FALLING = pytest.mark.parametrize(("start", "end"), [(0.04, 0.07), (0.07, 0.04), (0.0, 1.0), (1.0, 0.0)])


@RISING_AND_FALLING
@pytest.mark.parametrize("length", [2, 3, 17])
def test_linear__equals_its_closed_form_at_every_step(start, end, length):
    values = [linear(step, length, start, end) for step in range(length + 1)]
    assert values == pytest.approx([start + (end - start) * step / length for step in range(length + 1)], abs=1e-15)
    assert (values[0], values[-1]) == (start, end)


@RISING_AND_FALLING
@pytest.mark.parametrize("length", [2, 3, 17])
def test_cosine__equals_its_closed_form_at_every_step(start, end, length):
    values = [cosine(step, length, start, end) for step in range(length + 1)]
    expected = [end + (start - end) * (1 + math.cos(math.pi * step / length)) / 2 for step in range(length + 1)]
    assert values == pytest.approx(expected, abs=1e-15)
    assert (values[0], values[-1]) == (start, end)


@RISING_AND_FALLING
@pytest.mark.parametrize("schedule", [linear, cosine])
def test_ramps__move_towards_the_end_and_stay_there(schedule, start, end):
    values = [schedule(step, 10, start, end) for step in range(15)]
    assert values == sorted(values, reverse=end < start)
    assert values[10:] == [end] * 5


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_ramps__of_length_zero_and_one(schedule):
    assert schedule(0, 0, 0.2, 0.9) == 0.9
    assert [schedule(step, 1, 0.2, 0.9) for step in range(3)] == [0.2, 0.9, 0.9]


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_ramps__hold_the_start_before_step_zero(schedule):
    assert schedule(-3, 10, 0.2, 0.9) == 0.2


def test_constant__ignores_the_end():
    assert [constant(step, 4, 0.3, 0.9) for step in range(6)] == [0.3] * 6


def test_ramp__chooses_by_name():
    assert ramp("linear", 1, 4, 0.0, 1.0) == linear(1, 4, 0.0, 1.0)
    assert ramp("cosine", 1, 4, 0.0, 1.0) == cosine(1, 4, 0.0, 1.0)
    assert ramp("constant", 1, 4, 0.0, 1.0) == 0.0


def test_ramp__an_unknown_name_is_an_error_that_names_the_key():
    with pytest.raises(ConfigError, match=r"warmup_scheduler_coeff='linaer'.*Did you mean 'linear'"):
        ramp("linaer", 0, 1, 0.0, 1.0, key="warmup_scheduler_coeff")


@pytest.mark.parametrize(("start", "base", "end"), [(0.0, 1.0, 0.1), (2.0, 1.0, 3.0)])
@pytest.mark.parametrize(("warmup", "total"), [(0, 9), (1, 9), (4, 9), (9, 9), (0, 1), (2.5, 9)])
def test_warmed_up__equals_both_closed_forms_at_every_step(start, base, end, warmup, total):
    for step in range(total + 4):
        value = warmed_up(step, warmup=warmup, total=total, start=start, base=base, end=end)
        if step < warmup:
            expected = start + (base - start) * step / warmup
        elif step >= total:
            expected = end
        else:
            expected = end + (base - end) * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
        assert value == pytest.approx(expected, abs=1e-15)


def test_warmed_up__reaches_the_base_exactly_at_the_end_of_the_warm_up():
    values = [warmed_up(step, warmup=3, total=7, start=0.1, base=0.3, end=0.0) for step in range(8)]
    assert values[3] == 0.3
    assert max(values) == 0.3
    assert values[0] == 0.1


def test_warmed_up__takes_other_ramps():
    values = [
        warmed_up(step, warmup=2, total=9, start=1.0, base=0.5, end=0.0, warmup_ramp=cosine, decay_ramp=constant)
        for step in range(10)
    ]
    assert values == [1.0, 0.75] + [0.5] * 8


@pytest.mark.parametrize("total", [2, 3, 50])
@pytest.mark.parametrize("initial", [0.99, 0.5, 0.0])
def test_momentum_at__equals_the_papers_cosine_at_every_step(initial, total):
    for t in range(total):
        expected = 1 - (1 - initial) * (math.cos(math.pi * t / (total - 1)) + 1) / 2
        assert momentum_at("cosine", initial, t, total, 10) == pytest.approx(expected, abs=1e-15)
    assert momentum_at("cosine", initial, total - 1, total, 10) == 1.0


def test_momentum_at__cosine_epoch_is_constant_inside_an_epoch():
    values = [momentum_at("cosine_epoch", 0.9, step, 12, 4) for step in range(12)]
    assert values == pytest.approx([0.9] * 4 + [0.95] * 4 + [1.0] * 4)


def test_momentum_at__constant_never_moves():
    assert {momentum_at("constant", 0.9, step, 12, 4) for step in range(14)} == {0.9}


@pytest.mark.parametrize(("name", "total"), [("cosine", 1), ("cosine_epoch", 4), ("cosine_epoch", 1), ("cosine", 0)])
def test_momentum_at__without_room_for_a_schedule_stays_at_the_initial_value(name, total):
    assert momentum_at(name, 0.9, 0, total, 4) == 0.9


def test_momentum_at__an_unknown_name_is_an_error():
    with pytest.raises(ConfigError, match=r"scheduler_momentum='cosin'.*Did you mean 'cosine'"):
        momentum_at("cosin", 0.9, 0, 10, 5)
