"""Evaluation by two processes is that by one: each video once, whatever the shards are and whatever fails."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_evaluations import BROKEN, CASES, CLASSES, COUNTS, VIEWS, predictions_folder

from eztorch.evaluation import Predictions, measure

from ..conftest import write_video

PROGRAM = Path(__file__).with_name("tiny_evaluations.py")


@pytest.fixture(scope="module")
def folder(run_program, tmp_path_factory):
    """Videos of noise around a brightness of their own, and a torn one beside each; evaluated by one and by two."""
    folder = tmp_path_factory.mktemp("evaluations")
    for index in range(max(COUNTS)):
        frames = np.random.default_rng(index).integers(20 * index, 20 * index + 60, (20, 16, 16, 3), dtype=np.uint8)
        write_video(folder / f"video_{index}.mp4", frames)
        (folder / f"torn_{index}.mp4").write_bytes((folder / f"video_{index}.mp4").read_bytes()[:50])
    for processes in (1, 2):
        run_program(PROGRAM, folder, processes=processes)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """Results of one process, and of each of two."""
    return [torch.load(folder / f"{name}.pt", weights_only=False) for name in ("1_0", "2_0", "2_1")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_evaluation__of_two_processes_is_that_of_one(results, case):
    alone, *ranks = (result[case] for result in results)
    for found in ranks:
        assert found["metrics"].keys() == alone["metrics"].keys()
        for name, value in alone["metrics"].items():
            is_count = name.partition("/")[2].startswith(("n_", "acc_", "clip_acc_", "mean_class"))
            assert found["metrics"][name] == (value if is_count else pytest.approx(value, rel=1e-6)), name
        assert found["features"].idx.tolist() == alone["features"].idx.tolist()
        assert found["features"].labels.tolist() == alone["features"].labels.tolist()
        assert found["features"].num_wrong == alone["features"].num_wrong
        torch.testing.assert_close(found["features"].features, alone["features"].features)
        assert found["votes"].tolist() == alone["votes"].tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_evaluation__says_what_it_is_over(results, case):
    count, name, on_error, augmentation = case
    found = results[1][case]
    broken = [index for index in BROKEN[name] if index < count]
    wrong = len(broken) if on_error == "count_as_wrong" else 0
    for split in ("val", "test"):
        assert found["metrics"][f"{split}/n_evaluated"] == count - len(broken)
        assert found["metrics"][f"{split}/n_expected"] == count
        answers = count - len(broken) if augmentation else VIEWS * (count - len(broken))
        correct = found["metrics"][f"{split}/acc_1"] * (answers + wrong)
        assert correct == pytest.approx(round(correct), abs=1e-4)
    assert found["features"].idx.tolist() == [index for index in range(count) if index not in broken]
    assert found["features"].labels.tolist() == [index % CLASSES for index in range(count) if index not in broken]
    assert found["features"].num_wrong == wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_predictions__of_two_processes_are_those_of_one(folder, results, case):
    count, name, on_error, _ = case
    broken = [index for index in BROKEN[name] if index < count]
    alone, both = (Predictions.load(predictions_folder(folder, world, *case) / "test.safetensors") for world in (1, 2))
    assert alone.idx.tolist() == both.idx.tolist() == [index for index in range(count) if index not in broken]
    assert alone.labels.tolist() == both.labels.tolist() == [index % CLASSES for index in alone.idx.tolist()]
    assert alone.num_views.tolist() == both.num_views.tolist() == [VIEWS] * (count - len(broken))
    torch.testing.assert_close(both.scores, alone.scores, rtol=1e-6, atol=1e-7)
    assert alone.names == both.names == tuple(f"video_{index}.mp4" for index in alone.idx.tolist())
    assert alone.protocol == both.protocol
    assert alone.protocol["failures"] == [str(folder / f"torn_{index}.mp4") for index in broken]
    assert (alone.protocol["n_evaluated"], alone.protocol["n_expected"]) == (count - len(broken), count)
    assert alone.protocol["on_error"] == on_error
    for found in (alone, both):
        wrong = [] if found.unanswered is None else found.unanswered.idx.tolist()
        assert wrong == (broken if on_error == "count_as_wrong" else [])
        assert found.protocol["views"] == {"temporal": VIEWS, "spatial": 1, "fewest": VIEWS, "most": VIEWS}


@pytest.mark.parametrize("case", [case for case in CASES if case[3]], ids=lambda case: "-".join(map(str, case)))
def test_predictions__have_the_accuracy_that_the_model_has_measured(folder, results, case):
    found = measure(Predictions.load(predictions_folder(folder, 2, *case) / "test.safetensors"))
    for name in ("acc_1", "acc_5"):
        assert found[name] == pytest.approx(results[1][case]["metrics"][f"test/{name}"])
    assert found["nll"] == pytest.approx(results[1][case]["metrics"]["test/loss"], rel=1e-5)
    for name in ("mean_class_acc", "ece", "n_scored"):
        assert found[name] == pytest.approx(results[1][case]["metrics"][f"test/{name}"]), name


@pytest.mark.parametrize("count", COUNTS)
def test_count_as_wrong__changes_accuracies_alone(results, count):
    skipped, counted = (
        results[1][count, "one_of_a_rank", on_error, "avg_group"]["metrics"] for on_error in ("skip", "count_as_wrong")
    )
    for name, value in skipped.items():
        if name.partition("/")[2] not in ("mean_class_acc", "n_classes"):  # which depend on its class
            is_accuracy = name.partition("/")[2].startswith(("acc_", "clip_acc_"))
            assert counted[name] == pytest.approx(value * (count - 1) / count if is_accuracy else value), name
    assert counted["test/mean_class_acc"] < skipped["test/mean_class_acc"] or not skipped["test/mean_class_acc"]
    assert counted["test/acc_5"] < skipped["test/acc_5"]


def test_failures__are_listed_with_their_path_and_reason(folder):
    with (folder / "failed_2.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    with (folder / "failed_1.csv").open(newline="") as lines:
        alone = list(csv.DictReader(lines))
    assert sorted(map(str, rows)) == sorted(map(str, alone))
    assert {row["path"] for row in rows} == {str(folder / f"torn_{index}.mp4") for index in (1, 3, 5, 7)}
    assert all(row["reason"] for row in rows)
