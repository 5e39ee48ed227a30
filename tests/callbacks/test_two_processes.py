import csv
from pathlib import Path

import pytest
import torch
from tiny_two_ranks import train


@pytest.fixture(scope="module")
def folder(run_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_program(Path(__file__).with_name("tiny_two_ranks.py"), folder)
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_metrics__of_two_processes_are_those_of_one(ranks, tmp_path):
    expected = train(tmp_path)
    torch.testing.assert_close(ranks[0]["train"]["model"], expected["model"])
    for results in ranks:
        found = results["train"]["metrics"]
        assert found.keys() == expected["metrics"].keys()
        for name, value in expected["metrics"].items():
            if not name.startswith("time/"):
                assert found[name] == pytest.approx(value, rel=1e-4), name
    assert ranks[0]["train"]["metrics"] == ranks[1]["train"]["metrics"]


def test_metrics__are_written_once(ranks, folder):
    with (folder / "m.csv").open() as lines:
        steps = [int(row["step"]) for row in csv.DictReader(lines)]
    assert steps == sorted(set(steps))


def test_knn__of_two_processes_evaluates_each_sample_once(ranks):
    for results in ranks:
        metrics = results["train"]["metrics"]
        assert (metrics["knn/n_evaluated"], metrics["knn/n_expected"]) == (6, 7)  # one has no label


def test_online_evaluator__of_two_processes_is_that_of_one(ranks, tmp_path):
    expected = train(tmp_path)["probe"]
    for results in ranks:
        torch.testing.assert_close(results["train"]["probe"], expected)


def test_failures__of_one_rank_end_the_run_on_both(ranks, folder):
    for results in ranks:
        within, beyond = results["failures"]
        assert within == ""
        assert beyond == ranks[0]["failures"][1]
        assert beyond.startswith("2 of the 16 training samples of epoch 0")
    with (folder / "failed_samples.csv").open() as lines:
        assert [int(row["idx"]) for row in csv.DictReader(lines)] == [1, 1, 3]
