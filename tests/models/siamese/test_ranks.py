"""Two processes train as one does on the same global batches."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning

_SCRIPT = Path(ranks.__file__)
# What rounding may do in five steps of single precision: processors sum in different orders, and whitening and
# cross-correlation magnify it. A gradient that is lost between processes makes a hundred times that and more.
_LOSSES = {"rtol": 1e-5, "atol": 1e-5}
_WEIGHTS = {"rtol": 1e-4, "atol": 2e-5}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Results of rank 0 and of rank 1."""
    folder = tmp_path_factory.mktemp("ranks")
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(_SCRIPT), str(folder)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
        return {name: ranks.fit(name, rank=0, world=1) for name in ranks.SETTINGS}


@pytest.mark.parametrize("name", ranks.SETTINGS)
def test_two_processes__losses_and_weights_are_those_of_one(one, two, name):
    results = [rank[name] for rank in two]
    assert [r["steps"] for r in (one[name], *results)] == [ranks.STEPS] * 3
    means = torch.tensor([r["losses"] for r in results], dtype=torch.float64).mean(dim=0)
    torch.testing.assert_close(means, torch.tensor(one[name]["losses"], dtype=torch.float64), **_LOSSES)
    assert max(one[name]["losses"]) - min(one[name]["losses"]) > 1e-3  # the model moved
    for key, value in one[name]["state"].items():
        torch.testing.assert_close(results[0]["state"][key], value, **_WEIGHTS, msg=key)


@pytest.mark.parametrize("name", ranks.SETTINGS)
def test_two_processes__both_ranks_end_with_the_same_state(two, name):
    first, second = (rank[name]["state"] for rank in two)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(second[key], value), key


@pytest.mark.parametrize("name", [name for name in ranks.SETTINGS if not name.endswith(", cached")])
def test_gradient_cache__changes_nothing_but_memory(one, name):
    cached = one[f"{name}, cached"]
    torch.testing.assert_close(cached["losses"], one[name]["losses"], **_LOSSES)
    torch.testing.assert_close(cached["state"], one[name]["state"], **_WEIGHTS)
