from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from eztorch.engine.job import JobInfo, JobSpec, Program, exported, inherited_job, job_file, write_run_files
from eztorch.engine.launch import main

ROOT = Path(__file__).parents[2]


def given(run_dir, rank=0):
    return json.loads((run_dir / f"given.{rank}.json").read_text())


def words(recipes, *overrides):
    return ["-cp", str(recipes), "-cn", "tiny", "dir.data=/data", *overrides]


def make_spec(run_dir, **config):
    info = JobInfo("pretrain", ("eztorch", "pretrain", "a=b c"), ("a=b c",), "tiny", (), "/my work")
    return JobSpec({"a": "b c", **config}, run_dir, info)


# --- a single job


def test_main__runs_the_job_with_its_resolved_configuration(script, recipes, tmp_path):
    done = script(*words(recipes, "model.temp=0.2"))
    assert (done.returncode, done.stderr) == (0, "")
    run_dir = tmp_path / "out" / "tiny"
    job = given(run_dir)
    assert job["task"] == "fake"
    assert job["run_dir"] == job["config"]["dir"]["run"] == str(run_dir)
    assert job["config"]["model"] == {"temp": 0.2, "temp_m": 0.05, "data": "/data", "sizes": [1, 2]}
    assert job["job"] == {
        "task": "fake",
        "command": ["python", str(script.path), *words(recipes, "model.temp=0.2")],
        "overrides": ["dir.data=/data", "model.temp=0.2"],
        "recipe": "tiny",
        "differences": [["dir.data", "???", "/data"], ["model.temp", "0.1", "0.2"]],
        "cwd": str(tmp_path),
        "script": str(script.path),
    }


def test_main__writes_what_was_run_into_the_run_directory(script, recipes, tmp_path):
    script(*words(recipes, "+note='a b'"))
    run_dir = tmp_path / "out" / "tiny"
    assert OmegaConf.to_container(OmegaConf.load(run_dir / "config.yaml")) == given(run_dir)["config"]
    assert OmegaConf.load(run_dir / "overrides.yaml") == ["dir.data=/data", "+note='a b'"]
    command = (run_dir / "command.txt").read_text()
    (run_dir / "given.0.json").unlink()
    repeated = subprocess.run(command.replace("python ", f"{sys.executable} "), shell=True, capture_output=True)
    assert repeated.returncode == 0
    assert given(run_dir)["config"]["note"] == "a b"


def test_main__keeps_the_traceback_of_what_is_not_the_users_fault(script, recipes):
    done = script(*words(recipes, "model.temp=13"))
    assert done.returncode == 1
    assert re.search(r"Traceback(.|\n)*RuntimeError: unlucky", done.stderr)


def test_main__prints_what_the_user_can_mend_without_a_traceback(recipes, capsys):
    assert main("pretrain", words(recipes, "model.tmep=1")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("eztorch pretrain: error: model.tmep does not exist. Did you mean model.temp?")


def test_main__takes_the_gpus_of_lightning_1_with_one_warning(script, recipes, tmp_path):
    done = script(*words(recipes, "trainer.gpus=-1"))
    assert done.stderr.splitlines() == [
        "eztorch fake: warning: trainer.gpus is a key of Lightning 1; write trainer.accelerator=gpu trainer.devices=-1."
    ]
    assert given(tmp_path / "out" / "tiny")["config"]["trainer"] == {"devices": -1, "accelerator": "gpu"}


def test_main__an_interrupt_is_no_error(script, recipes, tmp_path):
    runner = tmp_path / "runner.py"
    for body in (
        "raise KeyboardInterrupt",
        "\n    try:\n        raise KeyboardInterrupt\n    except KeyboardInterrupt:\n        exit(1)",
    ):
        runner.write_text(f"def run(config, task, run_dir, *, job): {body}\n")
        done = script(*words(recipes))
        assert (done.returncode, done.stderr) == (130, "")


def test_main__finds_folders_beside_the_script(script, recipes, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, str(script.path), "-cp", "recipes", "-cn", "tiny", "--cfg", "job", "-p", "model.temp"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("0.1\n", 0)


def test_main__finds_code_in_the_working_directory(script, recipes, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "mine.py").write_text("ANSWER = 42\n")
    (tmp_path / "runner.py").write_text(
        "def run(config, task, run_dir, *, job):\n    import mine\n\n    print(mine.ANSWER)\n"
    )
    command = [sys.executable, str(script.path), *words(recipes)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("42\n", 0)


# --- several processes


LIGHTNING = """\
import json
import os


def run(config, task, run_dir, *, job):
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    given = {"config": config, "run_dir": str(run_dir), "world": fabric.world_size}
    (run_dir / f"given.{fabric.global_rank}.json").write_text(json.dumps(given))
"""


@pytest.mark.filterwarnings("ignore")
def test_processes_that_lightning_starts__take_the_job_of_rank_0(script, recipes, tmp_path):
    (tmp_path / "runner.py").write_text(LIGHTNING)
    # A clock in the run directory: a process that composed again would have another one.
    command = [sys.executable, str(script.path), *words(recipes, "dir.exp='${now:%H-%M-%S.%f}'")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (run_dir,) = (tmp_path / "out").iterdir()
    first, second = given(run_dir, 0), given(run_dir, 1)
    assert first == second
    assert first["world"] == 2
    assert first["run_dir"] == str(run_dir)
    assert sorted(path.name for path in run_dir.glob("*.*")) == [
        "command.txt", "config.yaml", "given.0.json", "given.1.json", "overrides.yaml",
    ]  # fmt: skip


def slurm(rank, tasks=2):
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_PROCID": str(rank),
    }


def test_tasks_of_srun__compose_the_same_job_and_the_first_writes(script, recipes, tmp_path):
    run_dir = tmp_path / "out" / "tiny"
    assert script(*words(recipes, "trainer.gpus=1"), **slurm(1)).stderr == ""
    assert not (run_dir / "config.yaml").exists()
    assert "warning" in script(*words(recipes, "trainer.gpus=1"), **slurm(0)).stderr
    assert (run_dir / "config.yaml").exists()
    assert given(run_dir, 0) == given(run_dir, 1)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (slurm(0), "srun"),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}, "torchrun"),
        ({"NODE_RANK": "1"}, "each node"),
    ],
)
def test_a_launcher_of_several_processes__cannot_have_clocks_or_a_multirun(
    script, recipes, tmp_path, environment, name
):
    done = script(*words(recipes, "dir.exp='${now:%H}'"), **environment)
    assert done.returncode == 2
    assert f"${{now:%H}}, but {name} started several processes" in done.stderr
    done = script(*words(recipes, "-m", "model.temp=1,2"), **environment)
    assert done.returncode == 2
    assert f"but {name} started several. Start one command for each job" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_single_task_of_srun__may_have_both(script, recipes, tmp_path):
    assert script(*words(recipes, "dir.exp='${now:%Y}'", "-m", "model.temp=1"), **slurm(0, tasks=1)).returncode == 0


# --- the job that is handed over


def test_job_file__is_taken_by_the_same_command_line_only(tmp_path):
    spec = make_spec(tmp_path, numbers={1: float("inf")})
    with job_file(spec, ["a=b c"]) as variables, exported(variables):
        assert inherited_job("pretrain", ["a=b c"]) == spec
        assert inherited_job("pretrain", ["a=other"]) is None
        assert inherited_job("test", ["a=b c"]) is None
    assert inherited_job("pretrain", ["a=b c"]) is None
    assert not any(Path(name).exists() for name in variables.values())


def test_exported__puts_the_environment_back(monkeypatch):
    monkeypatch.setenv("EZTORCH_OLD", "old")
    with exported({"EZTORCH_OLD": "new", "EZTORCH_NEW": "new"}):
        assert (os.environ["EZTORCH_OLD"], os.environ["EZTORCH_NEW"]) == ("new", "new")
    assert os.environ["EZTORCH_OLD"] == "old"
    assert "EZTORCH_NEW" not in os.environ


def test_write_run_files__keeps_what_an_earlier_start_wrote_if_it_differs(tmp_path):
    run_dir = tmp_path / "a" / "run"
    names = lambda: sorted(path.name for path in run_dir.iterdir())  # noqa: E731
    write_run_files(make_spec(run_dir))
    write_run_files(make_spec(run_dir))
    assert names() == ["command.txt", "config.yaml", "overrides.yaml"]
    assert (run_dir / "command.txt").read_text() == "cd '/my work' && eztorch pretrain 'a=b c'\n"
    write_run_files(make_spec(run_dir, b=1))
    assert names() == ["command.txt", "config.1.yaml", "config.yaml", "overrides.yaml"]
    (run_dir / "command.txt").write_text("other")
    write_run_files(make_spec(run_dir, b=2))
    assert names() == [
        "command.2.txt",
        "command.txt",
        "config.1.yaml",
        "config.2.yaml",
        "config.yaml",
        "overrides.yaml",
    ]
    written = [OmegaConf.load(run_dir / name).get("b") for name in ("config.1.yaml", "config.2.yaml", "config.yaml")]
    assert written == [None, 1, 2]


def test_program__starts_what_was_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Program("pretrain").words == ("eztorch", "pretrain")
    assert Program("pretrain").start == (sys.executable, "-m", "eztorch", "pretrain")
    assert Program("pretrain", "run/pretrain.py").words == ("python", "run/pretrain.py")
    assert Program("pretrain", "run/pretrain.py").start == (sys.executable, str(tmp_path / "run/pretrain.py"))
