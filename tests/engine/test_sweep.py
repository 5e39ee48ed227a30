from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import Recipe
from eztorch.engine.job import Program
from eztorch.engine.sweep import expand, folder_name, plan
from eztorch.utils.errors import ConfigError


def words(recipes, *overrides):
    return ["-cp", str(recipes), "-cn", "tiny", "-m", "dir.data=/data", *overrides]


def planned(recipes, *overrides, name="tiny"):
    composer = Composer(Recipe(recipes, name), "pretrain")
    return plan(
        composer, ["dir.data=/data", *overrides], parse(["-cp", str(recipes), "-cn", name]), Program("pretrain")
    )


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


# --- the grid


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("a=1,x,null", ["a=1", "a=x", "a=null"]),
        ("+a=choice(1, 'b c')", ["+a=1", "+a=b\\ c"]),
        ("a=range(3)", ["a=0", "a=1", "a=2"]),
        ("a=range(0, 1, 0.25)", ["a=0.0", "a=0.25", "a=0.5", "a=0.75"]),
        ("a=[1,2],[3]", ["a=[1,2]", "a=[3]"]),
        ("group=glob(*)", ["group=one", "group=other", "group=two"]),
        ("group=glob(*, exclude=o*)", ["group=two"]),
        ("a=[1,2]", []),
        ("a='1,2'", []),
        ("~a", []),
    ],
)
def test_expand__knows_the_choices_of_hydra(override, values):
    grid = expand([override], lambda group: ["one", "other", "two"])
    assert [one.choices for one in grid] == ([(value,) for value in values] or [()])
    assert [one.overrides for one in grid] == [(value,) for value in values or [override]]


def test_expand__is_the_product_in_the_order_of_the_command_line():
    grid = expand(["x=0", "a=1,2", "y=range(2)"], lambda group: [])
    assert [one.overrides for one in grid] == [
        ("x=0", "a=1", "y=0"), ("x=0", "a=1", "y=1"), ("x=0", "a=2", "y=0"), ("x=0", "a=2", "y=1"),
    ]  # fmt: skip
    assert grid[2].choices == ("a=2", "y=0")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["a=interval(0, 1)"], r"a=interval\(0, 1\): an interval has no end of values; write range"),
        (["a=1,2", "a=3,4"], r"a has choices twice"),
        (["group=glob(z*)"], r"group=glob\(z\*\): there is nothing to choose from"),
        (["a=range(3, 1)"], r"there is nothing to choose from"),
        (["hydra.job.num=1,2"], r"hydra\.job\.num=1,2: settings of Hydra cannot vary"),
        (["a=[1"], r"'a=\[1' is not an override"),
    ],
)
def test_expand__names_the_choice_at_fault(overrides, message):
    with pytest.raises(ConfigError, match=message):
        expand(overrides, lambda group: ["one"])


def test_folder_name__is_a_name_of_one_folder():
    assert folder_name(0, []) == "0"
    assert folder_name(12, ["a.b=1e-3", "+c=[x, y]", "d='/p/é r'"]) == "12_a.b-1e-3_c-x-y_d-p-r"
    assert len(folder_name(1, ["k=" + "v" * 1000])) < 200


# --- the plan


def test_plan__gives_every_job_a_clean_configuration_and_a_folder_of_its_own(recipes, tmp_path):
    jobs = planned(recipes, "model.temp=1,2", "net=glob(*)", "+n='${hydra:job.num}'", "+log='${dir.run}/log'")
    folders = [
        tmp_path / "out" / "tiny" / f"{number}_model.temp-{temp}_net-{net}"
        for number, (temp, net) in enumerate([(1, "large"), (1, "small"), (2, "large"), (2, "small")])
    ]
    assert [job.spec.run_dir for job in jobs] == folders
    assert [job.spec.config["dir"]["run"] for job in jobs] == [str(folder) for folder in folders]
    assert [job.spec.config["log"] for job in jobs] == [f"{folder}/log" for folder in folders]
    assert [job.spec.config["n"] for job in jobs] == [0, 1, 2, 3]
    assert [job.spec.config["net"]["width"] for job in jobs] == [64, 8, 64, 8]
    assert jobs[3].choices == ("model.temp=2", "net=small")
    assert {("model.temp", "0.1", "2"), ("dir.data", "???", "/data")} <= set(jobs[3].spec.info.differences)


def test_plan__gives_every_job_the_command_line_that_repeats_it_alone(recipes):
    job = planned(recipes, "model.temp=1,2", "+n='${hydra:job.num}'")[1]
    assert job.spec.info.command == ("eztorch", "pretrain", *job.argv)
    arguments = parse(job.argv)
    composer = Composer(Recipe(recipes, arguments.config_name), "pretrain")
    config = composer.compose(arguments.overrides)
    assert composer.run_dir(config) == job.spec.run_dir
    assert composer.resolve(config, job.spec.run_dir) == job.spec.config


def test_plan__composes_every_job_before_the_first_starts(recipes):
    with pytest.raises(ConfigError, match=r"Could not find 'net/lrage'"):
        planned(recipes, "net=small,lrage")


def test_plan__honours_the_sweep_folders_of_hydra(recipes, tmp_path):
    settings = [f"hydra.sweep.dir={tmp_path}/grid", "hydra.sweep.subdir='t${model.temp}/${hydra:job.num}'"]
    assert [job.spec.run_dir for job in planned(recipes, "model.temp=1,2", *settings)] == [
        tmp_path / "grid" / "t1" / "0", tmp_path / "grid" / "t2" / "1",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=rf"Several jobs have the run directory {tmp_path}/out/tiny/same"):
        planned(recipes, "model.temp=1,2", "hydra.sweep.subdir=same")


def test_plan__takes_the_choices_of_the_recipe_and_the_command_line_wins(recipes):
    text = (recipes / "tiny.yaml").read_text()
    params = "  sweeper:\n    params:\n      model.temp: 1,2\n      net: glob(*)\n"
    (recipes / "grid.yaml").write_text(text + params)
    assert [job.choices for job in planned(recipes, "net=small", name="grid")] == [("model.temp=1",), ("model.temp=2",)]


def test_plan__a_choice_may_stand_for_what_the_recipe_leaves_open(recipes, tmp_path):
    jobs = planned(recipes, "dir.exp=a,b")
    assert [job.spec.run_dir for job in jobs] == [tmp_path / "out/a/0_dir.exp-a", tmp_path / "out/b/1_dir.exp-b"]


def test_plan__refuses_launchers_of_hydra(recipes):
    (recipes / "hydra" / "launcher").mkdir(parents=True)
    (recipes / "hydra" / "launcher" / "mine.yaml").write_text("_target_: mine\n")
    with pytest.raises(ConfigError, match=r"hydra/launcher=mine: launchers and sweepers of Hydra are not used"):
        planned(recipes, "model.temp=1,2", "hydra/launcher=mine")


# --- running it


def test_multirun__runs_all_jobs_reports_them_and_survives_a_failure(script, recipes, tmp_path):
    done = script(*words(recipes, "model.temp=0.5,13,0.25"))
    assert done.returncode == 1
    folder = tmp_path / "out" / "tiny"
    rows = read_csv(folder / "multirun.csv")
    assert [row["job"] for row in rows] == ["0", "1", "2"]
    assert [row["overrides"] for row in rows] == ["model.temp=0.5", "model.temp=13", "model.temp=0.25"]
    assert [row["status"] for row in rows] == ["done", "failed (exit status 1)", "done"]
    assert [row["knn/acc_1"] for row in rows] == ["0.5", "", "0.25"]
    assert [row["run_dir"] for row in rows] == [
        str(folder / name) for name in ("0_model.temp-0.5", "1_model.temp-13", "2_model.temp-0.25")
    ]
    for row in rows:
        assert sorted(name for name in os.listdir(row["run_dir"]) if name.endswith("l")) == [
            "config.yaml",
            "overrides.yaml",
        ]
    third = json.loads((folder / "2_model.temp-0.25" / "given.0.json").read_text())
    assert third["config"]["model"]["temp"] == 0.25
    assert "RuntimeError: unlucky" in done.stderr
    assert "[2/3] model.temp=13 -> " in done.stdout
    table = done.stdout[done.stdout.index("Jobs in") :]
    for text in ("model.temp=0.25", "failed", "knn/acc_1", "2_model.temp-0.25"):
        assert text in table


def test_multirun__compares_the_objective_that_is_asked_for(script, recipes, tmp_path):
    done = script(*words(recipes, "model.temp=1,2", "objective=extra"))
    assert (done.returncode, done.stderr) == (0, "")
    rows = read_csv(tmp_path / "out" / "tiny" / "multirun.csv")
    assert list(rows[0]) == ["job", "overrides", "status", "extra", "run_dir"]
    assert [row["extra"] for row in rows] == ["1.0", "1.0"]


def test_multirun__streams_the_output_of_the_jobs_and_gives_each_a_process(script, recipes, tmp_path):
    (tmp_path / "runner.py").write_text(
        "import os\n\n\ndef run(config, task, run_dir, *, job):\n    print('process', os.getpid(), flush=True)\n"
    )
    done = script(*words(recipes, "model.temp=1,2"))
    lines = [line for line in done.stdout.splitlines() if line.startswith(("[", "process"))]
    assert [line.split()[0] for line in lines] == ["[1/2]", "process", "[2/2]", "process"]
    assert lines[1] != lines[3]


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_multirun__a_stop_leaves_no_job_behind(script, recipes, tmp_path, signal_number, code):
    (tmp_path / "runner.py").write_text(
        "import os, time\n\n\ndef run(config, task, run_dir, *, job):\n"
        "    (run_dir / 'pid').write_text(str(os.getpid()))\n    time.sleep(60)\n"
    )
    command = [sys.executable, str(script.path), *words(recipes, "model.temp=1,2")]
    sweep = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pid_file = tmp_path / "out" / "tiny" / "0_model.temp-1" / "pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    if signal_number == signal.SIGINT:  # a terminal interrupts the whole group
        os.killpg(sweep.pid, signal_number)
    else:
        sweep.send_signal(signal_number)
    output, _ = sweep.communicate(timeout=30)
    assert sweep.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    if signal_number == signal.SIGINT:
        rows = read_csv(tmp_path / "out" / "tiny" / "multirun.csv")
        assert [row["status"] for row in rows] == ["interrupted", "not run"]
        assert b"interrupted" in output


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
