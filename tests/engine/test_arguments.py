from __future__ import annotations

import pytest

from eztorch.engine.arguments import Arguments, parse
from eztorch.utils.errors import ConfigError


def test_parse__takes_flags_and_overrides_in_any_order():
    words = ["a=1", "-cp", "configs", "+b=2", "--config-name=demo", "~c", "-m", "d.e=[1,2]", "-cd", "more"]
    assert parse(words) == Arguments(
        ("a=1", "+b=2", "~c", "d.e=[1,2]"),
        config_name="demo",
        config_path="configs",
        config_dir="more",
        multirun=True,
    )


@pytest.mark.parametrize("words", [["-c", "hydra"], ["--cfg", "hydra"], ["--cfg=hydra"], ["-c=hydra"]])
def test_parse__takes_the_value_of_a_flag_from_the_next_word_or_behind_an_equals_sign(words):
    assert parse([*words, "--resolve", "-p", "run"]) == Arguments(cfg="hydra", resolve=True, package="run")


def test_parse__the_last_of_a_repeated_flag_wins():
    assert parse(["-cn", "a", "-cn", "b"]).config_name == "b"


def test_parse__keeps_equals_signs_of_values():
    assert parse(["-cp=/a=b", "key=x=y"]) == Arguments(("key=x=y",), config_path="/a=b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--confg-name", "x"], r"unknown flag '--confg-name'\. Did you mean '--config-name'\?"),
        (["--zzz"], r"unknown flag '--zzz'\. --help lists the flags"),
        (["-cn"], r"-cn needs a value: -cn NAME"),
        (["-cn", "-m"], r"-cn needs a value"),
        (["-cn="], r"-cn needs a value"),
        (["--multirun=yes"], r"--multirun takes no value, got '--multirun=yes'"),
        (["demo"], r"'demo' is neither a flag nor an override\. Write key=value, or -cn demo"),
        (["--cfg", "jb"], r"--cfg='jb' is not known; expected one of \['job', 'hydra', 'all'\]"),
        (["--resolve"], r"--resolve goes with --cfg job"),
        (["-p", "model"], r"--package goes with --cfg job"),
        (["--cfg", "job", "-m"], r"--cfg prints the configuration of one job"),
    ],
)
def test_parse__names_what_it_cannot_use(words, message):
    with pytest.raises(ConfigError, match=message):
        parse(words)


def test_source__gives_the_flags_that_find_the_recipe_again():
    words = ["-cp", "configs", "-cd", "more", "-cn", "demo"]
    assert list(parse([*words, "-m", "a=1"]).source()) == words
