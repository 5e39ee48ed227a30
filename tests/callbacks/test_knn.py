import csv
import io

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from tiny_run import TinyData, TinyModule, fit, make_trainer

from eztorch.callbacks import KNNEvaluator, MetricsCSV, ModelCheckpoint, ProgressBar, ScalarLogger
from eztorch.utils.errors import ConfigError


def reference(module, data, k):
    """Accuracy by scikit-learn on features taken one by one."""
    module.eval()
    parts = {}
    for split, dataset in data.datasets.items():
        samples = [dataset[i] for i in range(len(dataset)) if dataset[i]["label"] >= 0]
        features = torch.stack([module.trunk(s["input"][None])[0] for s in samples]).detach()
        parts[split] = features.numpy(), [int(s["label"]) for s in samples]
    votes = {"weights": lambda distance: np.exp(-distance / 0.07)}
    model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", **votes)
    return model.fit(*parts["train"]).score(*parts["val"])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_knn_evaluator__agrees_with_scikit_learn(tmp_path, precision, unlabelled):
    data = TinyData(train=24, val=19, unlabelled=unlabelled)
    run = fit(tmp_path, [KNNEvaluator(k=3)], data=data, precision=precision, max_epochs=1)
    metrics = run.trainer.callback_metrics
    expected = reference(run.module, data, 3)
    tolerance = 1e-6 if precision == "32-true" else 1.1 / 19  # bf16 may move one sample across
    assert float(metrics["knn/acc_1"]) == pytest.approx(expected, abs=tolerance)
    assert (int(metrics["knn/n_evaluated"]), int(metrics["knn/n_expected"])) == (19 - unlabelled, 19)


def test_knn_evaluator__changes_nothing_of_the_run(tmp_path):
    plain = fit(tmp_path, [], max_epochs=2)
    evaluated = fit(tmp_path, [KNNEvaluator(k=3)], max_epochs=2)
    for name, tensor in plain.module.state_dict().items():
        assert torch.equal(tensor, evaluated.module.state_dict()[name])


def test_knn_evaluator__writes_before_training_and_after_its_epochs(tmp_path):
    logger = MetricsCSV(tmp_path / "metrics.csv")
    run = fit(tmp_path, [KNNEvaluator(k=3, every_n_epochs=2), ScalarLogger()], logger=logger, max_epochs=3)
    with logger.file.open() as lines:
        rows = {int(row["step"]): row for row in csv.DictReader(lines)}
    assert [step for step, row in rows.items() if row["knn/acc_1"]] == [0, 7, 11]
    assert rows[0]["knn/acc_1"] == rows[0]["knn/acc_1_untrained"]
    assert float(run.trainer.callback_metrics["knn/acc_1_untrained"]) == pytest.approx(float(rows[0]["knn/acc_1"]))


def test_knn_evaluator__a_checkpoint_can_follow_it_and_remembers_the_untrained_accuracy(tmp_path):
    def callbacks():
        checkpoint = ModelCheckpoint(tmp_path, "best", monitor="knn/acc_1", mode="max", enable_version_counter=False)
        return [KNNEvaluator(k=3), ScalarLogger(), checkpoint]

    first = fit(tmp_path, callbacks(), enable_checkpointing=True, max_epochs=1)
    path = str(tmp_path / "best.ckpt")
    second = fit(tmp_path, callbacks(), enable_checkpointing=True, max_epochs=2, ckpt_path=path)
    untrained = [float(run.trainer.callback_metrics["knn/acc_1_untrained"]) for run in (first, second)]
    assert untrained[0] == untrained[1]


def test_knn_evaluator__takes_bank_and_queries_from_one_split(tmp_path):
    data = TinyData(train=24, val=19)
    run = fit(tmp_path, [KNNEvaluator(k=3, bank_split="val")], data=data, max_epochs=1)
    assert float(run.trainer.callback_metrics["knn/acc_1"]) < 1.0 + 1e-6
    assert int(run.trainer.callback_metrics["knn/n_evaluated"]) == 19


@pytest.mark.parametrize(
    ("evaluator", "data", "text"),
    [
        (lambda: KNNEvaluator(input_name="q"), TinyData(), r"input_name='q'.*\['h'\]"),
        (lambda: KNNEvaluator(k=0), TinyData(), "k=0"),
        (lambda: KNNEvaluator(temperature=0), TinyData(), "temperature=0"),
        (lambda: KNNEvaluator(every_n_epochs=0), TinyData(), "every_n_epochs=0"),
    ],
)
def test_knn_evaluator__errors_name_the_value(tmp_path, evaluator, data, text):
    with pytest.raises(ConfigError, match=text):
        fit(tmp_path, [evaluator()], data=data)


def test_knn_evaluator__needs_a_datamodule_with_feature_loaders(tmp_path):
    data = TinyData()
    trainer = make_trainer(tmp_path, [KNNEvaluator()])
    with pytest.raises(ConfigError, match=r"datamodule\.feature_dataloader"):
        trainer.fit(TinyModule(), data.train_dataloader(), data.val_dataloader())


def test_knn_evaluator__without_any_label_is_an_error(tmp_path):
    data = TinyData()
    data.datasets["val"].labels[:] = -1
    with pytest.raises(ConfigError, match="no sample of the val split has a label"):
        fit(tmp_path, [KNNEvaluator()], data=data)


def test_knn_evaluator__says_what_it_found_above_the_progress_bar(tmp_path):
    stream = io.StringIO()
    callbacks = [KNNEvaluator(k=3), ProgressBar(stream=stream)]
    fit(tmp_path, callbacks, enable_progress_bar=True, max_epochs=1)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("kNN (k=3) at step 0: ")
    assert lines[1].endswith("%, 7 of 7 val samples evaluated.")
