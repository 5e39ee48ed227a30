from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from eztorch.engine.arguments import parse
from eztorch.engine.compose import (
    HYDRA_RUN_DIR,
    HYDRA_SWEEP_DIR,
    HYDRA_SWEEP_SUBDIR,
    Composer,
    hydra_settings,
    quote,
    refuse_unused,
    replace_gpus,
)
from eztorch.engine.experiments import Recipe, experiments_dir, find_recipe
from eztorch.engine.job import Difference
from eztorch.utils.errors import ConfigError


@pytest.fixture
def composer(recipes):
    return Composer(Recipe(recipes, "tiny"), "pretrain")


def plain(composer, *overrides):
    config = composer.compose(["dir.data=/data", *overrides])
    return composer.resolve(config, composer.run_dir(config))


# --- finding the recipe


def test_find_recipe__looks_in_the_working_directory_before_the_folder_of_the_script(recipes, tmp_path, monkeypatch):
    script = str(tmp_path / "elsewhere" / "run" / "pretrain.py")
    beside = tmp_path / "elsewhere" / "run" / "recipes"
    beside.mkdir(parents=True)
    (beside / "tiny.yaml").write_text("x: 1\n")
    monkeypatch.chdir(tmp_path)
    assert find_recipe(parse(["-cp", "recipes", "-cn", "tiny"]), "pretrain", script=script).folder == recipes
    monkeypatch.chdir("/")
    assert find_recipe(parse(["-cp", "recipes", "-cn", "tiny"]), "pretrain", script=script).folder == beside


def test_find_recipe__names_both_places_that_it_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = rf"-cp no/where: there is no such folder; looked for {tmp_path}/no/where and /code/run/no/where\."
    with pytest.raises(ConfigError, match=message):
        find_recipe(parse(["-cp", "no/where", "-cn", "x"]), "pretrain", script="/code/run/pretrain.py")


@pytest.mark.parametrize("name", ["supervised_r3d18_kinetics200", "supervised_r3d18_kinetics200.yaml"])
@pytest.mark.parametrize("own", [True, False])
def test_find_recipe__falls_back_to_the_shipped_experiments(recipes, name, own):
    flags = ["-cp", str(recipes)] if own else []
    recipe = find_recipe(parse([*flags, "-cn", name]), "supervised")
    assert recipe.path == experiments_dir() / "supervised_r3d18_kinetics200.yaml"
    assert recipe.search == ((recipes,) if own else ())


def test_find_recipe__unknown_name_lists_the_nearest_and_the_available_ones(recipes):
    message = rf"-cn tinny: .*\. Did you mean tiny\? In {recipes} are: tiny\. eztorch ships: .*supervised"
    with pytest.raises(ConfigError, match=message):
        find_recipe(parse(["-cp", str(recipes), "-cn", "tinny"]), "pretrain")


def test_find_recipe__without_a_name_lists_the_experiments_of_the_task(recipes):
    with pytest.raises(
        ConfigError, match=r"write -cn NAME\. For supervised eztorch ships: (?!.*pretrain_).*supervised_"
    ):
        find_recipe(parse([]), "supervised")
    with pytest.raises(ConfigError, match=rf"For pretrain {recipes} has: tiny\."):
        find_recipe(parse(["-cp", str(recipes)]), "pretrain")


def test_find_recipe__a_recipe_in_a_folder_below_is_composed_at_the_root(recipes):
    (recipes / "mine").mkdir()
    (recipes / "mine" / "deep.yaml").write_text("defaults: [{net: large}, _self_]\nx: 1\n")
    composer = Composer(find_recipe(parse(["-cp", str(recipes), "-cn", "mine/deep"]), "pretrain"), "pretrain")
    assert composer.show(composer.compose(), "job") == "net:\n  name: large\n  width: 64\nx: 1\n"


def test_find_recipe__a_further_folder_adds_groups_and_goes_before_those_of_the_recipe(recipes, tmp_path):
    more = tmp_path / "more" / "trainer"
    more.mkdir(parents=True)
    (more / "auto.yaml").write_text("mine: true\n")
    recipe = find_recipe(parse(["-cp", str(recipes), "-cd", str(more.parent), "-cn", "tiny"]), "pretrain")
    composer = Composer(recipe, "pretrain")
    assert composer.compose(["+trainer=auto"]).trainer == {"mine": True, "devices": 1}


# --- composing


def test_compose__knows_the_shipped_groups_without_being_told(recipes):
    (recipes / "bare.yaml").write_text("defaults: [{seed: default}]\n")
    composer = Composer(Recipe(recipes, "bare"), "pretrain")
    assert composer.compose().seed._target_.endswith("seed_everything")


def test_compose__takes_the_grammar_of_hydra(composer):
    config = plain(composer, "net=large", "model.temp=0.2", "+model.new={a: 1}", "++model.temp_m=2", "~model.sizes")
    assert config["net"] == {"name": "large", "width": 64}
    assert config["model"] == {"temp": 0.2, "temp_m": 2, "data": "/data", "new": {"a": 1}}


def test_compose__leaves_no_trace_of_hydra_in_the_process(composer):
    plain(composer)
    # Lightning starts other processes in Hydra's way when this says that Hydra is at work.
    assert not HydraConfig.initialized()
    assert not GlobalHydra.instance().is_initialized()


def test_compose__an_override_of_the_search_path_replaces_that_of_the_recipe(composer, tmp_path):
    (tmp_path / "groups" / "extra").mkdir(parents=True)
    (tmp_path / "groups" / "extra" / "one.yaml").write_text("v: 1\n")
    config = composer.compose([f"hydra.searchpath=[file://{tmp_path}/groups]", "+extra=one"])
    assert config.extra == {"v": 1}


def test_compose__a_search_path_that_is_not_there_is_an_error(composer):
    with pytest.raises(ConfigError, match=r"hydra\.searchpath or -cd: path=/nowhere is not available"):
        composer.compose(["hydra.searchpath=[/nowhere]"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.tmep=1",
            r"^model\.tmep does not exist\. Did you mean model\.temp\? To add a new key write \+model\.tmep=",
        ),
        ("modle.temp=1", r"^modle\.temp does not exist\. Did you mean model\.temp\?"),
        ("model.zzz=1", r"^model\.zzz does not exist; model has the keys temp, temp_m, data, sizes\."),
        ("zzz=1", r"^zzz does not exist; the configuration has the keys (?!.*hydra).*dir, model, trainer"),
        ("model.temp.x=1", r"^model\.temp\.x does not exist; model\.temp has no keys"),
        ("~model.tempo", r"'model\.tempo' does not exist"),
        ("+model.temp=1", r"already at 'model\.temp'(.|\n)*\+\+model\.temp=1"),
        ("model.sizes.7=1", r"model\.sizes\[7\]: list index out of range"),
        ("net=lrage", r"Could not find 'net/lrage'\. Did you mean 'large'\?\n(.|\n)*\tlarge\n\tsmall"),
        ("model.temp=[1", r"^'model\.temp=\[1' is not an override in Hydra's grammar \(no viable .*needs quotes"),
        ("model.temp=é", r"^'model\.temp=é' is not an override in Hydra's grammar\. A value with special characters"),
        ("model.temp=1,2", r"Ambiguous value for argument 'model\.temp=1,2'(.|\n)*--multirun"),
        (
            "net=5",
            r"^net=5: a configuration group takes the name of one of its files; to leave it out write ~GROUP",
        ),
        (
            "net=null",
            r"^net=null: a configuration group takes the name of one of its files; to leave it out write ~GROUP",
        ),
        ("hydra.job.num=x", r"hydra\.job\.num: Value 'x' of type 'str' could not be converted to Integer"),
    ],
)
def test_compose__names_the_override_at_fault(composer, override, message):
    with pytest.raises(ConfigError, match=message):
        composer.compose([override])


@pytest.mark.parametrize(("node", "given"), [("null", "None"), ("3", "3"), ("[run]", r"\['run'\]")])
def test_compose__hydra_of_a_recipe_is_a_mapping(recipes, node, given):
    (recipes / "bad.yaml").write_text(f"a: 1\nhydra: {node}\n")
    with pytest.raises(ConfigError, match=rf"bad\.yaml: hydra is {given}; expected a mapping, or leave it out"):
        Composer(Recipe(recipes, "bad"), "pretrain").compose()


def test_run_dir__is_not_named_after_nothing(composer):
    config = composer.compose(["dir.data=/data", "dir.exp=null"])
    with pytest.raises(ConfigError, match=r"^dir\.exp is null, but the run directory, dir\.run, is named after it"):
        composer.run_dir(config)
    assert composer.run_dir(composer.compose(["dir.data=/data", "dir.exp=null", "dir.run=/run"])) == Path("/run")


def test_compose__names_file_and_line_of_bad_yaml(recipes):
    (recipes / "bad.yaml").write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(
        ConfigError, match=rf"^{recipes}/bad\.yaml, line 3, column 2: this is not YAML: expected ',' or"
    ):
        Composer(Recipe(recipes, "bad"), "pretrain").compose()


def test_compose__names_file_and_line_of_bad_yaml_in_a_group(recipes, composer):
    (recipes / "net" / "small.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(
        ConfigError, match=r"net/small\.yaml, line 2, column 1: this is not YAML: found duplicate key a"
    ):
        composer.compose()


def test_compose__a_recipe_that_is_no_mapping_is_an_error(recipes):
    (recipes / "bad.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"'bad' must be a DictConfig, got ListConfig"):
        Composer(Recipe(recipes, "bad"), "pretrain").compose()


# --- resolving


def test_resolve__gives_plain_values_and_the_run_directory(composer, tmp_path):
    config = plain(composer)
    run_dir = tmp_path / "out" / "tiny"
    assert config == {
        "net": {"name": "small", "width": 8},
        "dir": {"data": "/data", "root": str(tmp_path / "out"), "exp": "tiny", "run": str(run_dir)},
        "model": {"temp": 0.1, "temp_m": 0.05, "data": "/data", "sizes": [1, 2]},
        "trainer": {"devices": 1},
        "objective": None,
    }
    assert (type(config), type(config["model"]), type(config["model"]["sizes"])) == (dict, dict, list)


def test_resolve__fills_in_what_hydra_knows(composer, tmp_path):
    names = ("job.num", "job.name", "runtime.cwd", "runtime.output_dir")
    config = plain(composer, *(f"+known.{name}='${{hydra:{name}}}'" for name in names))
    assert config["known"] == {
        "job": {"num": 0, "name": "pretrain"},
        "runtime": {"cwd": os.getcwd(), "output_dir": str(tmp_path / "out" / "tiny")},
    }
    assert plain(composer, "hydra.job.num=4", "+n='${hydra:job.num}'")["n"] == 4


def test_resolve__has_one_time_for_all_jobs(composer):
    pattern = "'${now:%H:%M:%S.%f}'"
    assert plain(composer, f"+now={pattern}")["now"] == plain(composer, f"+now={pattern}")["now"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}", plain(composer, f"+now={pattern}")["now"])


def test_resolve__refuses_the_time_under_a_launcher_of_several_processes(recipes):
    composer = Composer(Recipe(recipes, "tiny"), "pretrain", launcher="srun")
    assert plain(composer)["model"]["temp"] == 0.1
    with pytest.raises(ConfigError, match=r"The configuration uses \$\{now:%H\}, but srun started several"):
        plain(composer, "dir.exp='${now:%H}'")


def test_missing_values__are_all_named_with_an_example(composer):
    config = composer.compose()
    with pytest.raises(ConfigError) as error:
        composer.run_dir(config)
    assert str(error.value) == "dir.data is missing: give it on the command line, for example dir.data=/path/to/data"
    with pytest.raises(
        ConfigError, match=r"^dir\.data, model\.temp are missing: .*dir\.data=/path/to/data model\.temp=\.\.\."
    ):
        composer.run_dir(composer.compose(["model.temp=???"]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${dir.dta}", r"^a refers to dir\.dta, which does not exist\. Did you mean dir\.data\?$"),
        ("${zzz}/x", r"^a refers to zzz, which does not exist\.$"),
        ("${oc.env:EZTORCH_NOT_SET}", r"^a: Environment variable 'EZTORCH_NOT_SET' not found$"),
        ("${hydra:jobb.num}", r"^a: \$\{hydra:jobb\.num\}: Hydra has no such key"),
        ("${nope:1}", r"^a: Unsupported interpolation type nope$"),
        ("${a}", r"^a: Recursive interpolation detected$"),
    ],
)
def test_resolve__names_the_key_and_what_it_refers_to(composer, value, message):
    with pytest.raises(ConfigError, match=message):
        plain(composer, f"+a='{value}'")


def test_recipes_of_resolved_configurations__compose_to_themselves(composer, recipes):
    config = plain(composer, "+special='a: b, 1e-3'", "+small=1e-6")
    (recipes / "config.yaml").write_text(OmegaConf.to_yaml(config))
    assert plain(Composer(Recipe(recipes, "config"), "pretrain")) == config


# --- the run directory


def test_run_dir__is_dir_run_else_root_and_exp(composer, recipes, tmp_path):
    assert composer.run_dir(composer.compose(["dir.data=x", "dir.exp=other"])) == tmp_path / "out" / "other"
    assert composer.run_dir(composer.compose(["dir.data=x", "dir.run=/run"])) == Path("/run")
    (recipes / "bare.yaml").write_text("dir: {root: /r, exp: e}\n")
    bare = Composer(Recipe(recipes, "bare"), "pretrain")
    assert bare.run_dir(bare.compose()) == Path("/r/e")
    assert bare.resolve(bare.compose(), Path("/r/e"))["dir"] == {"root": "/r", "exp": "e", "run": "/r/e"}
    with pytest.raises(ConfigError, match=r"no run directory: give dir\.run=/path/to/run, or dir\.root and dir\.exp"):
        bare.run_dir(bare.compose(["~dir.root"]))


def test_run_dir__is_absolute_and_knows_the_home_folder(composer, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert composer.run_dir(composer.compose(["dir.data=x", "dir.root='~/out'"])) == Path("/home/me/out/tiny")
    assert composer.run_dir(composer.compose(["dir.data=x", "dir.root=out"])) == Path.cwd() / "out" / "tiny"


def test_run_dir__hydra_run_dir_wins_and_dir_run_follows(composer):
    config = composer.compose(["dir.data=x", "hydra.run.dir=some/where", "+log='${dir.run}/log'"])
    run_dir = composer.run_dir(config)
    assert run_dir == Path.cwd() / "some" / "where"
    assert composer.resolve(config, run_dir)["log"] == f"{run_dir}/log"


def test_defaults_of_hydra__are_those_that_count_as_not_set(recipes):
    (recipes / "bare.yaml").write_text("x: 1\n")
    settings = hydra_settings(Composer(Recipe(recipes, "bare"), "pretrain").compose())
    assert settings["run"]["dir"] == HYDRA_RUN_DIR
    assert settings["sweep"] == {"dir": HYDRA_SWEEP_DIR, "subdir": HYDRA_SWEEP_SUBDIR}


# --- the rest


def test_differences__are_what_the_overrides_changed_as_it_is_written(composer):
    config = composer.compose(["dir.data=/data", "net=large", "~model.sizes", "+model.on=true", "model.temp=null"])
    assert set(composer.differences(config)) == {
        Difference("dir.data", "???", "/data"),
        Difference("net.name", "small", "large"),
        Difference("net.width", "8", "64"),
        Difference("model.sizes[0]", "1", "(not set)"),
        Difference("model.sizes[1]", "2", "(not set)"),
        Difference("model.on", "(not set)", "true"),
        Difference("model.temp", "0.1", "null"),
    }
    assert composer.differences(composer.compose()) == ()


def test_differences__of_a_recipe_with_an_open_choice_are_the_overrides(recipes):
    (recipes / "open.yaml").write_text("defaults: [{net: '???'}]\n")
    composer = Composer(Recipe(recipes, "open"), "pretrain")
    assert composer.differences(composer.compose(["net=small"])) == (Difference("net", "(not set)", "small"),)


def test_show__prints_the_job_as_it_is_written(composer, recipes):
    text = composer.show(composer.compose(), "job")
    assert "data: ???" in text
    assert "run: ${.root}/${.exp}" in text
    assert "hydra" not in text


def test_show__prints_a_part_and_resolves_it(composer, tmp_path):
    config = composer.compose(["model.temp=2"])
    assert composer.show(config, "job", package="model.temp") == "2\n"
    assert composer.show(config, "job", package="model.sizes.1") == "2\n"
    assert composer.show(config, "job", package="net") == "# @package net\nname: small\nwidth: 8\n"
    assert composer.show(config, "job", package="dir.run") == "${.root}/${.exp}\n"
    assert composer.show(config, "job", package="dir.run", resolve=True) == f"{tmp_path}/out/tiny\n"
    with pytest.raises(ConfigError, match=r"--package: model\.tmep does not exist\. Did you mean model\.temp\?"):
        composer.show(config, "job", package="model.tmep")
    with pytest.raises(ConfigError, match=r"dir\.data is missing"):
        composer.show(config, "job", resolve=True)


@pytest.mark.parametrize("resolve", [False, True])
def test_show__prints_hydra_and_everything(composer, tmp_path, resolve):
    config = composer.compose(["dir.data=x"])
    hydra = OmegaConf.create(composer.show(config, "hydra", resolve=resolve))
    everything = OmegaConf.create(composer.show(config, "all", resolve=resolve))
    assert list(hydra) == ["hydra"]
    assert list(everything) == ["net", "dir", "model", "trainer", "objective", "hydra"]
    run_dir = OmegaConf.to_container(everything)["hydra"]["run"]["dir"]
    assert run_dir == (f"{tmp_path}/out/tiny" if resolve else "${...dir.run}")


@pytest.mark.parametrize(
    ("value", "accelerator", "devices"),
    [("-1", "gpu", "-1"), ("[0,1]", "gpu", "[0,1]"), ("0", "cpu", "1"), ("null", "cpu", "1")],
)
@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_replace_gpus__writes_it_as_lightning_has_it_today(composer, prefix, value, accelerator, devices):
    overrides, warning = replace_gpus(["model.temp=1", f"{prefix}trainer.gpus={value}"])
    assert overrides == ["model.temp=1", f"++trainer.accelerator={accelerator}", f"++trainer.devices={devices}"]
    assert f"write trainer.accelerator={accelerator} trainer.devices={devices}" in warning
    trainer = plain(composer, *overrides)["trainer"]
    assert trainer["accelerator"] == accelerator


def test_replace_gpus__leaves_other_overrides_alone():
    assert replace_gpus(["trainer.devices=1", "my.trainer.gpus=2"]) == (
        ["trainer.devices=1", "my.trainer.gpus=2"],
        None,
    )


@pytest.mark.parametrize("text", ["/a/b", "with space", "a=b,c", "it's", 'say "x"', "back\\slash", "[1]", "é", "end\\"])
def test_quote__survives_the_grammar(composer, text):
    assert plain(composer, f"+text={quote(text)}")["text"] == text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.job.chdir=true", r"hydra\.job\.chdir has no effect in eztorch: the working directory never changes"),
        ("+hydra.job.env_set.A=1", r"hydra\.job\.env_set has no effect"),
        ("+hydra.callbacks.x={a: 1}", r"hydra\.callbacks has no effect"),
        ("hydra.verbose=true", r"hydra\.verbose has no effect"),
        ("hydra.mode=MULTIRUN", r"write --multirun"),
    ],
)
def test_refuse_unused__names_settings_without_effect(composer, override, message):
    with pytest.raises(ConfigError, match=message):
        refuse_unused(composer.compose([override]), multirun=False)
    refuse_unused(composer.compose(), multirun=True)


@pytest.mark.parametrize("shipped", ["demo_supervised", "pretrain_resnet18_BYOL_cifar10", "finetune_r3d18_hmdb51"])
def test_recipe__begins_with_a_shipped_one(tmp_path, shipped):
    task = "pretrain" if shipped.startswith("pretrain") else "supervised"
    lines = ["defaults:", f"  - {shipped}", "  - override model/optimizer: adam", "  - _self_", "dir:", "  exp: mine"]
    (tmp_path / "mine.yaml").write_text("\n".join(lines) + "\n")
    configs = []
    for name, words in (("mine", ["-cp", str(tmp_path)]), (shipped, ["model/optimizer=adam", "dir.exp=mine"])):
        arguments = parse(["-cn", name, "dir.data=/data", "dir.root=/out", *words])
        composer = Composer(find_recipe(arguments, task), task)
        config = composer.compose(arguments.overrides)
        configs.append(composer.resolve(config, composer.run_dir(config)))
    assert configs[0] == configs[1]
    assert configs[0]["dir"]["run"] == "/out/mine"
