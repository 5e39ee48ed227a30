import math

import pytest

from eztorch.schedulers import scale_lr
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("scaler", "expected"),
    [
        (None, 0.1),
        ("none", 0.1),
        ("linear", 0.1 * 512 / 256),
        ("sqrt", 0.1 * math.sqrt(512)),
        ("sqrt_256", 0.1 * math.sqrt(2)),
    ],
)
def test_scale_lr__follows_the_rule_of_its_name(scaler, expected):
    assert scale_lr(0.1, scaler, 512) == pytest.approx(expected, rel=1e-15)
    assert scale_lr(0.1, scaler, 512, multiply_lr=3.0) == pytest.approx(3 * expected, rel=1e-15)


def test_scale_lr__without_a_scaler_needs_no_batch_size():
    assert scale_lr(0.1) == 0.1


@pytest.mark.parametrize("batch_size", [None, 0, -4])
def test_scale_lr__a_scaler_without_a_batch_size_is_an_error(batch_size):
    with pytest.raises(ConfigError, match="scaler='linear' needs batch_size"):
        scale_lr(0.1, "linear", batch_size)


def test_scale_lr__an_unknown_scaler_is_an_error():
    with pytest.raises(ConfigError, match=r"scaler='squrt'.*'linear', 'none', 'sqrt', 'sqrt_256'"):
        scale_lr(0.1, "squrt", 256)
