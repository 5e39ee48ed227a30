"""Fine-tuning, linear evaluation and the probe of two processes are those of one."""

from pathlib import Path

import pytest
import torch
from tiny_transfer import CASES, COUNTS

PROGRAM = Path(__file__).with_name("tiny_transfer.py")


@pytest.fixture(scope="module")
def results(run_program, tmp_path_factory):
    """Results of one process, and of each of two."""
    folder = tmp_path_factory.mktemp("transfer")
    for processes in (1, 2):
        run_program(PROGRAM, folder, processes=processes)
    return [torch.load(folder / f"{name}.pt", weights_only=False) for name in ("1_0", "2_0", "2_1")]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("case", CASES)
def test_training__of_two_processes_is_that_of_one(results, case, counts):
    alone, *ranks = (result[case, counts] for result in results)
    assert alone["metrics"]["val/n_evaluated"] == alone["metrics"]["test/n_evaluated"] == counts[1]
    for found in ranks:
        for name, value in alone["after"].items():
            torch.testing.assert_close(found["after"][name], value, rtol=1e-4, atol=1e-6, msg=name)
        for name, value in alone["metrics"].items():
            if not name.startswith("train/"):  # a process tells of its own batches there
                assert found["metrics"][name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("case", CASES)
def test_training__leaves_what_is_frozen_as_it_was_to_the_last_bit(results, case, counts):
    parts = {
        "linear": ["trunk."],
        "frozen": ["trunk."],
        "norms": ["trunk.1."],
        "two_groups": ["trunk.1.running", "trunk.1.num"],
    }
    for result in results:
        found = result[case, counts]
        changed = {name for name, value in found["after"].items() if not torch.equal(value, found["before"][name])}
        frozen = {name for name in found["after"] if name.startswith(tuple(parts[case]))}
        assert frozen
        assert changed == found["after"].keys() - frozen


@pytest.mark.parametrize("selection", ["held_out", "val"])
@pytest.mark.parametrize("counts", COUNTS)
def test_probe__of_two_processes_is_that_of_one(results, counts, selection):
    alone, *ranks = (result["probe", counts, selection] for result in results)
    assert alone["metrics"]["linear/n_evaluated"] == alone["metrics"]["linear/n_expected"] == counts[1]
    assert len(alone["grid"]) == 24
    for found in ranks:
        assert found["grid"] == alone["grid"]
        assert found["metrics"] == pytest.approx(alone["metrics"])


@pytest.mark.parametrize("counts", COUNTS)
def test_probe__chooses_where_it_is_asked_to(results, counts):
    for selection in ("held_out", "val"):
        found = results[0]["probe", counts, selection]
        choices = [float(row["choice_acc_1"]) for row in found["grid"]]
        (chosen,) = [row for row in found["grid"] if row["chosen"] == "1"]
        assert float(chosen["choice_acc_1"]) == max(choices)
        if selection == "val":  # the best of the split itself
            assert choices == [float(row["val_acc_1"]) for row in found["grid"]]
            assert found["metrics"]["linear/acc_1"] == pytest.approx(max(choices))
        else:
            assert found["metrics"]["linear/held_out_acc_1"] == pytest.approx(max(choices))
