"""A small recipe with groups of its own, and a script with a task that trains nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """\
# A tiny recipe.
#
#   eztorch pretrain -cn tiny
defaults:
  - net: small
  - _self_

dir:
  data: ???
  root: {root}
  exp: tiny
  run: ${{.root}}/${{.exp}}
model:
  temp: 0.1
  temp_m: 0.05
  data: ${{..dir.data}}
  sizes: [1, 2]
trainer:
  devices: 1
objective: null
hydra:
  searchpath:
    - pkg://eztorch.configs
  run:
    dir: ${{...dir.run}}
"""

SCRIPT = """\
import sys

from eztorch.engine.launch import main
from eztorch.engine.tasks import TASKS, Task

TASKS["fake"] = Task("fake", "Train nothing.", (), runner="runner.run")
sys.exit(main("fake", script=sys.argv[0]))
"""

# What a job leaves: what it was given, in a file of its process. The temperature 13 is unlucky.
RUNNER = """\
import dataclasses
import json
import os


def run(config, task, run_dir, *, job):
    rank = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0"))
    given = {"config": config, "task": task, "run_dir": str(run_dir), "job": dataclasses.asdict(job)}
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / f"given.{rank}.json").write_text(json.dumps(given))
    if config["model"]["temp"] == 13:
        raise RuntimeError("unlucky")
    (run_dir / "metrics.json").write_text(json.dumps({"knn/acc_1": config["model"]["temp"], "extra": 1.0}))
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """Folder with the recipe `tiny` and its group `net`; its run directory is `out/tiny` beside it."""
    folder = tmp_path / "recipes"
    (folder / "net").mkdir(parents=True)
    (folder / "tiny.yaml").write_text(RECIPE.format(root=tmp_path / "out"))
    for name, width in [("small", 8), ("large", 64)]:
        (folder / "net" / f"{name}.yaml").write_text(f"name: {name}\nwidth: {width}\n")
    return folder


class Script:
    """A script of the task `fake`, to be run in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fake.py"
        self.path.write_text(SCRIPT)
        (folder / "runner.py").write_text(RUNNER)

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", str(self.path), *words]
        return subprocess.run(
            command,
            cwd=self.path.parent,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)
