from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import eztorch
from eztorch.cli import main

ROOT = Path(__file__).parents[1]
RECIPE = "pretrain_r3d18_SCE_kinetics200"
HEAVY = ("torch", "lightning", "numpy", "torchvision")

# Runs the command in a fresh interpreter and prints which of the modules it imported.
PROBE = """\
import sys

from eztorch.cli import main

status = main(sys.argv[2:])
print("imported:", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
sys.exit(status)
"""


def probe(*words, modules=HEAVY):
    command = [sys.executable, "-W", "error", "-c", PROBE, ",".join(modules), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        [],
        ["pretrain", "--help"],
        ["--version"],
        ["pretrain", "--version"],
        ["x"],
        ["data"],
        ["compare", "-h"],
    ],
)
def test_cli__answers_for_itself_without_torch_and_without_hydra(words):
    done = probe(*words, modules=(*HEAVY, "hydra", "omegaconf", "yaml", "rich"))
    assert done.stderr.splitlines()[-1] == "imported:"
    assert done.returncode == (2 if words == ["x"] else 0)


@pytest.mark.parametrize("resolve", [[], ["--resolve", "dir.data=/data"]])
def test_cli__prints_a_configuration_without_torch(resolve):
    done = probe("pretrain", "-cn", RECIPE, "--cfg", "job", "-p", "model.queue", *resolve)
    assert done.stderr == "imported:\n"
    assert done.stdout == "# @package model.queue\nsize: 32768\nfeature_dim: 256\n"


def test_cli__refuses_a_configuration_without_torch():
    done = probe("pretrain", "-cn", RECIPE)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "eztorch pretrain: error: dir.data is missing: give it on the command line, for example dir.data=/path/to/data",
        "imported:",
    ]


@pytest.mark.parametrize(
    ("words", "cwd"),
    [
        (["run/pretrain.py", "-cp", "configs"], ROOT),
        (["pretrain.py", "-cp", "../doc/examples/configs/"], ROOT / "run"),
        ([str(ROOT / "run" / "pretrain.py"), "-cp", "../configs"], Path("/")),
        (["-m", "eztorch", "pretrain"], Path("/")),
        (["-m", "eztorch", "pretrain", "-cp", "configs"], ROOT),
    ],
)
def test_command_lines__all_find_the_same_experiment(words, cwd):
    overrides = [
        "-cn",
        RECIPE,
        "dir.data=/data",
        "dir.root=/output",
        "dir.exp='pretrain'",
        "seed.seed=7",
        "trainer.gpus=-1",
    ]
    command = [sys.executable, "-W", "error", *words, *overrides, "--cfg", "job", "-p", "seed.seed"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("7\n", 0)
    assert done.stderr.count("\n") == 1
    assert "warning: trainer.gpus is a key of Lightning 1" in done.stderr


@pytest.mark.parametrize("task", ["pretrain", "supervised", "linear_classifier_evaluation", "linear_probe", "test"])
def test_scripts__run_the_task_of_their_name(task):
    done = subprocess.run(
        [sys.executable, ROOT / "run" / f"{task}.py", "-h"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert f"Usage: eztorch {task} " in done.stdout


def test_cli__answers_in_well_under_a_second():
    def cpu_seconds(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "eztorch", *words], check=True, capture_output=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Time of the processor, the best of three: what else the machine does is not the matter.
    assert min(cpu_seconds("--help") for _ in range(3)) < 0.3
    assert min(cpu_seconds("pretrain", "-cn", RECIPE, "--cfg", "job") for _ in range(3)) < 0.9


def test_an_installed_wheel__carries_its_experiments(tmp_path):
    shutil.copytree(ROOT / "eztorch", tmp_path / "eztorch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "eztorch" / "experiments")
    command = [sys.executable, "-m", "eztorch", "pretrain", "-cn", RECIPE, "--cfg", "hydra", "-p", "hydra.runtime"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert f"path: {tmp_path}/eztorch/experiments\n" in done.stdout


def test_main__lists_what_there_is_beside_the_tasks(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.split("Other commands:")[1].split("Examples:")[0]
    assert {line.split()[0] for line in listed.split("\n") if line} >= {"data", "checkpoint", "compare"}


def test_main__prints_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{eztorch.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "eztorch: error: there is no task 'pretrian'. Did you mean 'pretrain'? Tasks: pretrain, "),
        (["zzz"], "eztorch: error: there is no task 'zzz'. Tasks: "),
        (["--hlep"], "eztorch: error: unknown flag '--hlep'. Did you mean '--help'?"),
        (["-cn", "demo", "pretrain"], "eztorch: error: the task comes first: eztorch TASK -cn ..."),
        (["pretrain", "--hlep"], "eztorch pretrain: error: unknown flag '--hlep'. Did you mean '--help'?"),
    ],
)
def test_main__names_what_it_cannot_use(words, message, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(message)


def test_cli__ends_quietly_when_nobody_reads_on():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "eztorch", "--help"], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")
