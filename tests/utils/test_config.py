"""Keys of a configuration against what a constructor takes."""

from __future__ import annotations

from typing import Any

import pytest
from typing_extensions import TypedDict, Unpack

from eztorch.utils.config import build, problems
from eztorch.utils.errors import ConfigError


class Shared(TypedDict, total=False):
    temperature: float


class MoreShared(Shared, total=False):
    momentum: float


class Method:
    def __init__(self, *, size: int = 1, **shared: Unpack[MoreShared]) -> None:
        self.size, self.shared = size, shared


class Plain:
    def __init__(self, size: int = 1) -> None:
        self.size = size


class Anything:
    def __init__(self, **keys: Any) -> None:
        self.keys = keys


def spec(name: str, **keys: Any) -> dict[str, Any]:
    return {"_target_": f"{__name__}.{name}", **keys}


def test_unpacked_keys__are_accepted_with_those_of_their_base() -> None:
    tree = spec("Method", size=2, temperature=0.1, momentum=0.9)
    assert list(problems(tree)) == []
    assert build(tree).shared == {"temperature": 0.1, "momentum": 0.9}


def test_unknown_key_beside_unpacked_ones__names_the_nearest() -> None:
    (problem,) = problems(spec("Method", temprature=0.1), "model")
    assert "unknown key 'temprature'. Did you mean 'temperature'?" in problem


def test_keys_of_any_name__are_left_to_the_constructor() -> None:
    assert list(problems(spec("Anything", whatever=1))) == []


def test_unknown_key_when_built__is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'size'"):
        build(spec("Plain", sise=1))


class Needy:
    def __init__(self, first: int, second: int, *, third: int, fourth: int = 4) -> None:
        if first < 0:
            raise TypeError("of the constructor itself")


def test_missing_keys_when_built__are_a_configuration_error_that_names_them() -> None:
    with pytest.raises(ConfigError, match=r"Needy: missing keys second, third\.$"):
        build(spec("Needy", first=1))
    with pytest.raises(ConfigError, match=r"missing key third\.$"):
        build(spec("Needy", _args_=[1, 2]))


def test_error_of_a_constructor__is_left_as_it_is() -> None:
    with pytest.raises(TypeError, match="of the constructor itself"):
        build(spec("Needy", first=-1, second=2, third=3))


class Typed:
    def __init__(self, size: int, rate: float | None = None, text: str = "", sizes: list[int] | int = 1) -> None:
        pass


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"size": "abc"}, ["model.size='abc'; expected a whole number"]),
        ({"size": 1, "rate": "1e-3x"}, ["model.rate='1e-3x'; expected a number or null"]),
        ({"size": 1, "rate": None, "text": "x", "sizes": "1,2"}, []),
        ({"size": None, "text": 5}, []),  # annotations of other libraries are trusted with texts alone
    ],
)
def test_problems__names_values_that_are_nothing_of_what_is_expected(keys, found) -> None:
    assert list(problems(spec("Typed", **keys), "model")) == found


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("max_epochs", 2.5, "a whole number or null"),
        ("gradient_clip_val", "abc", "a number or null"),
        ("limit_train_batches", [1], "a number or null"),
        ("detect_anomaly", None, "true or false"),
    ],
)
def test_problems__trusts_the_annotations_of_the_trainer(key, value, expected) -> None:
    (found,) = problems({"_target_": "lightning.pytorch.trainer.Trainer", key: value}, "trainer")
    assert found == f"trainer.{key}={value!r}; expected {expected}"
