"""Whole tests from the command line: what they write, tell, and repeat, on real videos."""

import csv
import json
import shutil

import pytest
import torch

from eztorch.engine.evaluation.section import check_evaluation, corruption_plans, writer_spec
from eztorch.engine.evaluation.testing import results
from eztorch.engine.launch import main
from eztorch.evaluation import Predictions, measure
from eztorch.utils.errors import ConfigError

SMALL = [
    "-cn",
    "demo_supervised",
    "datamodule.num_train=8",
    "datamodule.num_val=9",
    "datamodule.train.global_batch_size=8",
    "datamodule.test.global_batch_size=2",
    "trainer.max_epochs=1",
    *(f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val", "test")),
    "+logger=null",
    "report=false",
]
CORRUPTIONS = "evaluation.corruptions=[{name: gaussian_noise, severities: [0, 5]}, {name: freeze, severities: [2]}]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a classifier of moving digits, trained for one step and tested, whose predictions are written."""
    root = tmp_path_factory.mktemp("demo")
    assert main("supervised", [*SMALL, f"dir.root={root}", "evaluation.predictions=true"]) == 0
    return root


def run_test(root, folder, *overrides):
    """Test the classifier in a run directory of its own; return it and the metrics."""
    words = [*SMALL, f"dir.root={root}", f"dir.data={folder}/moving_digits", f"ckpt_path={root}/demo_supervised"]
    status = main("test", [*words, f"dir.run={folder}/run", *overrides])
    file = folder / "run" / "metrics.json"
    return status, json.loads(file.read_text()) if file.exists() else None


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained / "moving_digits", tmp_path / "moving_digits")
    return tmp_path


def test_test__writes_predictions_and_measures_them(trained, folder, capsys):
    status, metrics = run_test(
        trained, folder, "evaluation.metrics=[acc_2,mean_class_acc,ece]", "evaluation.views=true"
    )
    assert status == 0
    found = Predictions.load(folder / "run/predictions/test.safetensors")
    assert found.scores.shape == (9, 8)
    assert found.class_names[:2] == ("bouncing", "orbiting")
    assert found.names[0] == "bouncing/bouncing_0000.mp4"
    assert found.protocol["views"] == {"temporal": 2, "spatial": 3, "fewest": 6, "most": 6}
    assert found.protocol["input"] == [[3, 8, 48, 48]]
    assert found.protocol["checkpoint"] == str(trained / "demo_supervised/checkpoints/last.ckpt")
    assert len(found.protocol["checkpoint_sha256"]) == 64
    assert "eztorch test" in found.protocol["command"]
    assert found.views.scores.shape == (54, 8)
    torch.testing.assert_close(found.views.scores.view(9, 6, 8).mean(1), found.scores)
    for name, value in measure(found, ["acc_2", "mean_class_acc", "ece"]).items():
        assert metrics[f"test/{name}"] == pytest.approx(value), name
    assert "test/brier" not in metrics
    assert (metrics["test/n_clips"], metrics["test/n_evaluated"], metrics["test/n_expected"]) == (54, 9, 9)
    with (folder / "run/predictions/test_classes.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["name"], row["n"]) for row in rows[:2]] == [("bouncing", "2"), ("orbiting", "1")]
    told = capsys.readouterr().out
    assert "Test of 9 of 9 samples" in told
    assert f"acc_2           {metrics['test/acc_2']:.4f}" in told
    assert "2 in time x 3 in space, mean of probabilities" in told
    assert f"Predictions: {folder}/run/predictions/test.safetensors" in told


def test_supervised__writes_predictions_where_it_is_asked_to(trained):
    found = Predictions.load(trained / "demo_supervised/predictions/test.safetensors")
    assert (found.protocol["checkpoint"], found.protocol["global_step"]) == (None, 1)
    metrics = json.loads((trained / "demo_supervised/metrics.json").read_text())
    assert metrics["test/nll"] == pytest.approx(metrics["test/loss"], rel=1e-5)


def test_robustness__repeats_bit_for_bit_and_severity_0_is_clean(trained, folder, capsys):
    status, metrics = run_test(trained, folder, CORRUPTIONS)
    assert status == 0
    first = (folder / "run/robustness.csv").read_bytes()
    clean, untouched, noisy, frozen = csv.DictReader(first.decode().splitlines())
    assert (clean["corruption"], clean["value"]) == ("clean", untouched["value"])
    assert (untouched["corruption"], untouched["severity"]) == ("gaussian_noise", "0")
    assert all(row["n_evaluated"] == row["n_expected"] == "9" for row in (clean, untouched, noisy, frozen))
    values = [metrics[f"robustness/{name}/acc_1"] for name in ("gaussian_noise_0", "gaussian_noise_5", "freeze_2")]
    assert values[0] == metrics["test/acc_1"]
    mean = ((values[0] + values[1]) / 2 + values[2]) / 2
    assert metrics["robustness/mean_acc_1"] == pytest.approx(mean)
    assert metrics["robustness/mean_drop"] == pytest.approx(metrics["test/acc_1"] - mean)
    assert "gaussian_noise 5  acc_1" in capsys.readouterr().out
    predictions = (folder / "run/predictions/test.safetensors").read_bytes()
    run_test(trained, folder, CORRUPTIONS, "datamodule.test.global_batch_size=3", "evaluation.metrics=[]")
    assert (folder / "run/robustness.csv").read_bytes() == first
    # Corrupted tests leave neither predictions nor rows in the table of metrics.
    other = Predictions.load(folder / "run/predictions/test.safetensors")
    (folder / "run/predictions/test.safetensors").write_bytes(predictions)
    with (folder / "run/metrics.csv").open(newline="") as lines:
        assert {row["test/acc_1"] for row in csv.DictReader(lines)} - {""} == {str(metrics["test/acc_1"])}
    assert other.protocol["n_evaluated"] == 9


@pytest.mark.parametrize("on_error", ["skip", "count_as_wrong"])
def test_unreadable_video__is_told_of(trained, folder, capsys, on_error):
    torn = folder / "moving_digits/val/orbiting/orbiting_0001.mp4"
    torn.write_bytes(torn.read_bytes()[:60])
    with pytest.warns(UserWarning, match="test: 8 of 9 samples were evaluated"):
        status, metrics = run_test(trained, folder, f"+datamodule.test.on_error={on_error}")
    assert status == 0
    assert (metrics["test/n_evaluated"], metrics["test/n_expected"]) == (8, 9)
    told = capsys.readouterr().out
    assert "Test of 8 of 9 samples" in told
    assert f"1 ({on_error}): {torn}" in told
    found = Predictions.load(folder / "run/predictions/test.safetensors")
    assert found.protocol["failures"] == [str(torn)]
    assert 2 not in found.idx.tolist()
    assert metrics["test/n_classes"] == (7 if on_error == "skip" else 8)
    right = int((found.scores.argmax(1) == found.labels).sum())
    assert metrics["test/acc_1"] == pytest.approx(right / (8 if on_error == "skip" else 9))


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_video__stops_a_test_that_is_to_raise(trained, folder, capsys, workers):
    torn = folder / "moving_digits/val/orbiting/orbiting_0001.mp4"
    torn.write_bytes(torn.read_bytes()[:60])
    workers = f"datamodule.test.loader.num_workers={workers}"
    status, metrics = run_test(trained, folder, "+datamodule.test.on_error=raise", workers)
    assert (status, metrics) == (2, None)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"eztorch test: error: {torn}: decoder ")
    assert not (folder / "run/predictions").exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"metric": []}, r"evaluation.metric: unknown key. Did you mean 'metrics'\?"),
        ({"metrics": ["eec"]}, r"evaluation.metrics: there is no 'eec'.* Did you mean 'ece'\?"),
        ({"bins": 0}, r"bins=0; expected a whole number"),
        ({"corruptions": "jpeg"}, r"evaluation.corruptions='jpeg'; expected a list of names, or all"),
        ({"corruptions": ["jpg"]}, r"evaluation.corruptions='jpg' is not known.* Did you mean 'jpeg'\?"),
        ({"corruptions": [{"name": "jpeg", "severity": 1}]}, r"must have a name, may have severities"),
        ({"corruptions": [{"name": "jpeg", "severities": [7]}]}, r"severity=7; expected a whole number from 0"),
        ({"corruptions": [{"name": "jpeg", "severities": 3}]}, r"severities=3 of jpeg; expected a list"),
        ("jpeg", r"evaluation='jpeg'; expected a mapping"),
    ],
)
def test_section__is_checked_before_anything_is_built(section, message):
    with pytest.raises(ConfigError, match=message):
        check_evaluation({"evaluation": section})


def test_section__says_who_writes_predictions():
    assert set(writer_spec({}, "test", "")) == {"predictions"}
    assert writer_spec({}, "supervised", "") == {}
    assert writer_spec({"evaluation": {"predictions": False}}, "test", "") == {}
    spec = writer_spec({"evaluation": {"predictions": True, "bins": 10}}, "supervised", "eztorch supervised")
    assert (spec["predictions"]["bins"], spec["predictions"]["command"]) == (10, "eztorch supervised")
    plans = corruption_plans({"evaluation": {"corruptions": "all"}})
    assert {plan.name for plan in plans} >= {"gaussian_noise", "frame_drop"}
    assert all(plan.severities == (1, 2, 3, 4, 5) for plan in plans)


def test_results__of_a_model_that_tells_nothing_are_short():
    assert results({}, [], []) == "Test"
