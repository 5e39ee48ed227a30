"""A real `srun` on a one-node cluster that the test starts. Needs slurm-wlm, munge, and root for their daemons."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

NEEDED = ("srun", "sinfo", "slurmctld", "slurmd", "munged")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.environ.get("FAIL_WITHOUT_SLURM") is None and (os.geteuid() != 0 or not all(map(shutil.which, NEEDED))),
        reason=f"SLURM is not installed here, or this is not root; needed: {', '.join(NEEDED)}",
    ),
]


def configuration(home: Path) -> str:
    name = socket.gethostname().split(".")[0]
    return f"""
ClusterName=tests
SlurmctldHost={name}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={name} NodeAddr=127.0.0.1 CPUs={max(2, os.cpu_count() or 1)} RealMemory=2000 State=UNKNOWN
PartitionName=tests Nodes={name} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Environment in which `srun` reaches a cluster of one node."""
    home = tmp_path_factory.mktemp("slurm")
    for folder in ("state", "spool"):
        (home / folder).mkdir()
    (home / "slurm.conf").write_text(configuration(home))
    environment = {**os.environ, "SLURM_CONF": str(home / "slurm.conf")}
    if subprocess.run(["pgrep", "-x", "munged"], stdout=subprocess.DEVNULL).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", shutil.which("munged")], check=True)
    daemons = []
    with contextlib.ExitStack() as logs:
        for daemon in ("slurmctld", "slurmd"):
            log = logs.enter_context((home / f"{daemon}.log").open("w"))
            daemons.append(subprocess.Popen([daemon, "-D"], env=environment, stdout=log, stderr=log))
        for _ in range(60):
            state = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
            if "idle" in state.stdout:
                break
            time.sleep(0.5)
        else:
            pytest.fail(f"The cluster did not come up: {state}\n{(home / 'slurmctld.log').read_text()[-2000:]}")
        yield environment
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=20)


def srun(cluster, tasks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["srun", f"-n{tasks}", "--kill-on-bad-exit=1", sys.executable, str(ROOT / "run/pretrain.py")]
    return subprocess.run(
        [*command, *arguments], env=cluster, cwd=ROOT, capture_output=True, text=True, timeout=240
    )  # fmt: skip


def test_srun__trains_with_two_ranks(cluster, tiny_pretraining, tmp_path):
    done = srun(cluster, 2, *tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=two", "trainer.devices=-1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 2 process(es) of cpu" in done.stdout + done.stderr
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["pretrain/loss"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_srun__a_task_count_that_does_not_match_is_refused_at_once(cluster, tiny_pretraining, tmp_path):
    done = srun(cluster, 2, *tiny_pretraining, f"dir.root={tmp_path}", "dir.exp=refused", "trainer.devices=1")
    assert done.returncode != 0
    assert "SLURM started 2 task(s)" in done.stderr
    assert "= 1 process(es)" in done.stderr
    assert "--ntasks-per-node=1" in done.stderr
    assert "trainer.devices=2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "refused" / "checkpoints").exists()
