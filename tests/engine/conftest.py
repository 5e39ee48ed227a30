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


# Overrides that make a recipe of linear evaluation a matter of seconds: of a test, one clip and all of each frame.
LINEAR = """
trainer.accelerator=cpu trainer.precision=32 trainer.benchmark=false trainer.strategy=auto trainer.max_epochs=2
datamodule.decoder=pyav datamodule.decoder_args.frame_filter.num_samples=4 datamodule.train.global_batch_size=4
datamodule.val.global_batch_size=4 datamodule.train.loader.num_workers=0 datamodule.val.loader.num_workers=0
datamodule.train.transform.transform.transforms.0.min_size=36
datamodule.train.transform.transform.transforms.0.max_size=40
datamodule.train.transform.transform.transforms.1.size=32 datamodule.val.transform.transform.transforms.0.size=32
datamodule.val.transform.transform.transforms.1.size=32 datamodule.train.clip_sampler.clip_duration=1
datamodule.val.clip_sampler.clip_duration=1 trainer.check_val_every_n_epoch=2
datamodule.test.clip_sampler.clips_per_video=1 datamodule.test.loader.num_workers=0
datamodule.test.transform.transform.size=32 datamodule.test.transform.dict_transform.size=32
+model.trunk.model.stem_dim_out=4 model.trunk.head.in_features=32 model.optimizer.scheduler.params.warmup_epochs=0
report=false
"""


@pytest.fixture(scope="session")
def tiny_linear(video_tree: Path) -> list[str]:
    """Command line of a linear evaluation of seconds; dir.root, dir.exp and pretrained.path are left to the test."""
    return ["-cn", "linear_r3d18_kinetics200", f"dir.data={video_tree}", *LINEAR.split()]


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
