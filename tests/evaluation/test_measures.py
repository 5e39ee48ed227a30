"""Measures of predictions against scikit-learn, torchmetrics, or slow references, and at their boundaries."""

import math
import warnings

import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from eztorch.evaluation.groups import read_groups
from eztorch.evaluation.measure import MeasureOptions, class_table, is_better, measure, write_class_table
from eztorch.evaluation.metrics import (
    any_top_k_accuracy,
    brier_score,
    class_accuracies,
    confusion_matrix,
    expected_calibration_error,
    f1_score,
    group_accuracy,
    jaccard,
    maximum_calibration_error,
    mean_average_precision,
    mean_class_accuracy,
    negative_log_likelihood,
    reliability_bins,
    top_k_accuracy,
    top_set_accuracy,
)
from eztorch.evaluation.predictions import Predictions, Unanswered
from eztorch.utils.errors import ConfigError

CLASSES = 7


@pytest.fixture(params=range(3))
def one_label(request):
    """Probabilities (60, 7) and labels (60,), of which class 6 has none, and every tenth video has no label."""
    generator = torch.Generator().manual_seed(request.param)
    labels = torch.randint(CLASSES - 1, (60,), generator=generator)
    logits = torch.randn(60, CLASSES, generator=generator)
    logits[range(60), labels] += 1
    labels[::10] = -1
    return logits.double().softmax(1), labels


@pytest.fixture(params=range(3))
def several_labels(request):
    """Probabilities (50, 7), ties among them, and labels (50, 7), of which class 6 has none, and video 3 neither."""
    generator = torch.Generator().manual_seed(request.param)
    labels = (torch.rand(50, CLASSES, generator=generator) < 0.3).float()
    labels[:, 6], labels[3] = 0, 0
    return torch.randint(11, (50, CLASSES), generator=generator).double() / 10, labels


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_top_k__equals_scikit_learn(one_label, k):
    scores, labels = one_label
    expected = sk.top_k_accuracy_score(labels[labels >= 0], scores[labels >= 0], k=k, labels=range(CLASSES))
    assert top_k_accuracy(scores, labels, k).item() == pytest.approx(expected, abs=1e-12)


def test_top_k__takes_the_first_of_equal_scores_at_every_k():
    scores = torch.full((4, 4), 0.25)
    found = [top_k_accuracy(scores, torch.arange(4), k).item() for k in (1, 2, 3, 4)]
    assert found == [0.25, 0.5, 0.75, 1]


def test_top_k__of_more_classes_than_there_are_is_an_error():
    with pytest.raises(ConfigError, match=r"acc_5: there are 4 classes; expected acc_1 to acc_4"):
        top_k_accuracy(torch.rand(2, 4), torch.tensor([0, 1]), 5)


def test_top_k__of_one_class_is_right():
    assert top_k_accuracy(torch.ones(3, 1), torch.zeros(3, dtype=torch.long)) == 1


def test_mean_class_accuracy__equals_scikit_learn_and_leaves_out_classes_without_samples(one_label):
    scores, labels = one_label
    with warnings.catch_warnings():  # of the class without samples
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        expected = sk.balanced_accuracy_score(labels[labels >= 0], scores[labels >= 0].argmax(1))
    assert mean_class_accuracy(scores, labels).item() == pytest.approx(expected)
    assert class_accuracies(scores, labels).isnan().tolist() == [False] * 6 + [True]


def test_confusion_matrix__equals_scikit_learn(one_label):
    scores, labels = one_label
    expected = sk.confusion_matrix(labels[labels >= 0], scores[labels >= 0].argmax(1), labels=range(CLASSES))
    assert confusion_matrix(scores, labels).tolist() == expected.tolist()


def test_group_accuracy__equals_a_loop(one_label):
    scores, labels = one_label
    groups = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    hits = {"sum": 0, "argmax": 0}
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            sums = [sum(p for p, group in zip(row, groups, strict=True) if group == g) for g in range(3)]
            hits["sum"] += sums.index(max(sums)) == groups[label]
            hits["argmax"] += int(groups[row.index(max(row))] == groups[label])
    for by, count in hits.items():
        found = group_accuracy(scores, labels, groups, by=by).item()
        assert found == pytest.approx(count / int((labels >= 0).sum())), by


def test_unanswered__are_wrong_in_accuracies_and_in_nothing_else(one_label):
    scores, labels = one_label
    wrong, right = torch.tensor([0, 0, 6]), labels[labels >= 0]
    predictions = Predictions(torch.arange(60), labels, scores)
    found = measure(predictions)
    counted = measure(Predictions(torch.arange(60), labels, scores, unanswered=Unanswered(torch.arange(60, 63), wrong)))
    assert counted["acc_1"] == pytest.approx(found["acc_1"] * len(right) / (len(right) + 3))
    assert {name: counted[name] for name in ("nll", "brier", "ece", "mce", "n_scored")} == {
        name: found[name] for name in ("nll", "brier", "ece", "mce", "n_scored")
    }
    assert (found["n_classes"], counted["n_classes"]) == (6, 7)
    # A class that nothing was told of: the reference answers with another class there.
    told = torch.cat([scores[labels >= 0].argmax(1), torch.tensor([1, 1, 1])])
    expected = sk.recall_score(torch.cat([right, wrong]), told, average="macro", labels=range(7), zero_division=0)
    assert counted["mean_class_acc"] == pytest.approx(expected)


def test_negative_log_likelihood_and_brier__equal_scikit_learn(one_label):
    scores, labels = one_label
    truth, probabilities = labels[labels >= 0], scores[labels >= 0]
    assert negative_log_likelihood(scores, labels).item() == pytest.approx(
        sk.log_loss(truth, probabilities, labels=range(CLASSES))
    )
    expected = ((probabilities - torch.nn.functional.one_hot(truth, CLASSES)) ** 2).sum(1).mean().item()
    assert brier_score(scores, labels).item() == pytest.approx(expected)
    binary = torch.stack([1 - probabilities[:, 0], probabilities[:, 0]], dim=1)
    both = brier_score(binary, (truth == 0).long()).item()
    assert both == pytest.approx(2 * sk.brier_score_loss(truth == 0, probabilities[:, 0]))


def test_negative_log_likelihood__of_no_probability_is_finite():
    assert negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1])).item() == pytest.approx(
        87.336, abs=1e-3
    )


@pytest.mark.parametrize("bins", [1, 5, 15, 100])
def test_calibration__equals_torchmetrics_and_a_loop(one_label, bins):
    scores, labels = one_label
    has_label = labels >= 0
    found = reliability_bins(scores, labels, bins=bins)
    for norm, ours in (("l1", expected_calibration_error), ("max", maximum_calibration_error)):
        theirs = multiclass_calibration_error(scores[has_label], labels[has_label], CLASSES, n_bins=bins, norm=norm)
        assert ours(found).item() == pytest.approx(theirs.item(), abs=1e-6)
    rows = [
        (max(row), row.index(max(row)) == label)
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True)
        if label >= 0
    ]
    for m in range(bins):
        inside = [row for row in rows if m / bins < row[0] <= (m + 1) / bins]
        assert found.counts[m] == len(inside)
        if inside:
            assert found.accuracy[m].item() == pytest.approx(sum(hit for _, hit in inside) / len(inside))
            assert found.confidence[m].item() == pytest.approx(sum(p for p, _ in inside) / len(inside))


def test_calibration__of_a_confidence_on_an_edge_is_in_the_bin_below():
    scores = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert reliability_bins(scores, torch.tensor([0, 0]), bins=2).counts.tolist() == [1, 1]
    with pytest.raises(ConfigError, match="bins=0; expected a whole number"):
        reliability_bins(scores, torch.tensor([0, 0]), bins=0)


def test_mean_average_precision__equals_scikit_learn(several_labels):
    scores, labels = several_labels
    expected = sk.average_precision_score(labels[:, :6], scores[:, :6], average="macro")
    assert mean_average_precision(scores, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_f1_and_jaccard__equal_scikit_learn(several_labels, threshold):
    scores, labels = several_labels
    there, told = labels.int().numpy(), (scores >= threshold).int().numpy()
    for ours, theirs in ((f1_score, sk.f1_score), (jaccard, sk.jaccard_score)):
        assert ours(scores, labels, threshold=threshold, average="micro").item() == pytest.approx(
            theirs(there, told, average="micro")
        )
        classes = [k for k in range(CLASSES) if there[:, k].any() or told[:, k].any()]
        expected = theirs(there, told, average="macro", labels=classes)
        assert ours(scores, labels, threshold=threshold, average="macro").item() == pytest.approx(expected)
        rows = (there | told).any(1)
        expected = theirs(there[rows], told[rows], average="samples")
        assert ours(scores, labels, threshold=threshold, average="samples").item() == pytest.approx(expected)
    with pytest.raises(ConfigError, match=r"average='weighted'; expected one of micro, macro, samples"):
        f1_score(scores, labels, average="weighted")


def test_top_set__equals_a_loop_and_takes_ties_for_wrong(several_labels):
    scores, labels = several_labels
    hits = []
    for row, there in zip(scores.tolist(), labels.tolist(), strict=True):
        classes = {k for k in range(CLASSES) if there[k]}
        if classes:
            cut = sorted(row, reverse=True)[len(classes) - 1]
            hits.append({k for k in range(CLASSES) if row[k] >= cut} == classes)
    assert top_set_accuracy(scores, labels).item() == pytest.approx(sum(hits) / len(hits))
    assert top_set_accuracy(torch.ones(1, 2), torch.tensor([[1, 0]])) == 0
    assert top_set_accuracy(torch.ones(1, 2), torch.tensor([[1, 1]])) == 1


def test_several_labels__unanswered_ones_are_never_told(several_labels):
    scores, labels = several_labels
    wrong = torch.tensor([[1.0, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]])
    scores_of_all, labels_of_all = torch.cat([scores, torch.full((2, 7), -1.0)]), torch.cat([labels, wrong])
    for function in (f1_score, jaccard, mean_average_precision):
        expected = function(scores_of_all, labels_of_all).item()
        assert function(scores, labels, unanswered=wrong).item() == pytest.approx(expected)
    with_class = int(labels.any(1).sum())
    for function in (top_set_accuracy, any_top_k_accuracy):
        expected = function(scores, labels).item() * with_class / (with_class + 2)
        assert function(scores, labels, unanswered=wrong).item() == pytest.approx(expected)


def test_measure__of_no_labels_says_how_many_there_are(tmp_path):
    predictions = Predictions(torch.arange(2), torch.tensor([-1, -1]), torch.tensor([[0.5, 0.5]] * 2))
    assert measure(predictions) == {"n_scored": 0.0}
    nothing = Predictions(torch.arange(0), torch.arange(0), torch.empty(0, 0))
    assert measure(nothing) == {"n_scored": 0.0}
    write_class_table(nothing, tmp_path / "classes.csv")
    assert (tmp_path / "classes.csv").read_text().split() == ["class"]


def test_measure__of_one_class_is_certain():
    found = measure(Predictions(torch.arange(2), torch.tensor([0, 0]), torch.ones(2, 1)))
    assert found == {
        **dict.fromkeys(("acc_1", "mean_class_acc"), 1.0),
        **dict.fromkeys(("nll", "brier", "ece", "mce"), 0.0),
        "n_scored": 2.0,
        "n_classes": 1.0,
    }


def test_measure__takes_all_that_fits(one_label, several_labels):
    scores, labels = one_label
    groups = read_groups({k: k % 2 for k in range(CLASSES)}, class_names=(), num_classes=CLASSES)
    found = measure(Predictions(torch.arange(60), labels, scores), options=MeasureOptions(groups))
    accuracies = {"acc_1", "acc_5", "mean_class_acc", "group_acc_sum", "group_acc_argmax"}
    assert set(found) == accuracies | {"nll", "brier", "ece", "mce", "n_scored", "n_classes"}
    assert found["n_scored"] == 54
    scores, labels = several_labels
    found = measure(Predictions(torch.arange(50), labels, scores))
    assert found["iou"] == jaccard(scores.float().double(), labels).item()
    assert set(found) >= {"acc_1", "map", "f1_micro", "f1_macro", "iou_macro", "top_set_acc"}
    assert not any(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["acc1"], r"metrics: there is no 'acc1'; expected acc_K, .* Did you mean 'acc_1'\?"),
        (["map"], r"map is about samples with several labels, and these have one; use mean_class_acc"),
        (["acc_9"], r"acc_9: there are 7 classes"),
        (["group_acc_sum"], r"need to know them; give groups"),
    ],
)
def test_measure__says_what_is_wrong(one_label, names, message):
    scores, labels = one_label
    with pytest.raises(ConfigError, match=message):
        measure(Predictions(torch.arange(60), labels, scores), names)


def test_options__that_cannot_be_are_errors(one_label):
    with pytest.raises(ConfigError, match=r"threshold=2; expected a probability"):
        MeasureOptions(threshold=2)
    groups = read_groups({0: "a", 1: "b"}, class_names=(), num_classes=2)
    with pytest.raises(ConfigError, match=r"groups are of 2 classes, and there are 7"):
        measure(Predictions(torch.arange(60), one_label[1], one_label[0]), options=MeasureOptions(groups))


def test_is_better__knows_losses():
    assert is_better("acc_1", 0.6, 0.5)
    assert is_better("ece", 0.5, 0.6)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups.csv", "class,group\nwalk,slow\n2,fast\nrun,fast\n"),
        ("groups.csv", "walk,slow\njump, fast\nrun,fast\n"),
        ("groups.json", '{"walk": "slow", "run": "fast", "jump": "fast"}'),
    ],
)
def test_groups__are_read_from_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    groups = read_groups(tmp_path / name, class_names=("walk", "run", "jump"), num_classes=3)
    assert (groups.names, groups.members) == (("slow", "fast"), (0, 1, 1))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"walk": 0, "rum": 1}, r"evaluation.groups: 'rum' is no class. Did you mean 'run'\?"),
        ({"walk": 0}, r"1 of 2 classes have no group: run"),
        ({7: 0}, r"'?7'? is no class. There are 2 classes"),
        ("/nowhere.csv", r"/nowhere.csv cannot be read: No such file"),
    ],
)
def test_groups__say_what_is_wrong(groups, message):
    with pytest.raises(ConfigError, match=message):
        read_groups(groups, class_names=("walk", "run"), num_classes=2, key="evaluation.groups")


def test_class_table__says_what_each_class_is_confused_with(tmp_path):
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.7, 0.2], [0.6, 0.4, 0.0]])
    labels, names = torch.tensor([0, 0, 0, 1]), ("walk", "run", "jump")
    predictions = Predictions(torch.arange(4), labels, scores, class_names=names)
    walk, run, jump = class_table(predictions)
    assert walk == {
        "class": 0, "name": "walk", "n": 3, "accuracy": 0.333333,
        "most_confused_with": 1, "its_name": "run", "its_n": 2,
    }  # fmt: skip
    assert (run["accuracy"], run["its_name"], run["its_n"]) == (0.0, "walk", 1)
    assert (jump["n"], jump["accuracy"], jump["most_confused_with"]) == (0, "", "")
    write_class_table(predictions, tmp_path / "classes.csv")
    lines = (tmp_path / "classes.csv").read_text().splitlines()
    assert lines[0] == "class,name,n,accuracy,most_confused_with,its_name,its_n"
    assert lines[1] == "0,walk,3,0.333333,1,run,2"


def test_class_table__of_several_labels_has_their_precision(several_labels):
    scores, labels = several_labels
    rows = class_table(Predictions(torch.arange(50), labels, scores))
    assert rows[6] == {"class": 6, "name": "", "n": 0, "average_precision": ""}
    expected = sk.average_precision_score(labels[:, 0], scores[:, 0].float())
    assert rows[0]["average_precision"] == pytest.approx(expected, abs=1e-6)


def test_evaluation__every_name_is_what_it_says_and_not_the_module_that_it_is_in():
    import types

    import eztorch.evaluation
    import eztorch.evaluation.probe

    for name in eztorch.evaluation.__all__:
        assert not isinstance(getattr(eztorch.evaluation, name), types.ModuleType), name
