import math
from itertools import product

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from target_views import CLASSES, METRICS, VIDEOS, VIEWS, WEIGHTS, make_views, measure
from torch import nn

from eztorch.models.target_scores import TargetScores, joint_hits
from eztorch.models.views import Aggregation
from eztorch.utils.errors import DataError


class Failure:
    counts_as_wrong, label = True, 0

    def __init__(self, idx):
        self.idx = idx


def joint_ranks(probabilities, labels):
    """Rank of the right combination among all, by sorting every product of one row of each target."""
    ranks = []
    for row in range(len(labels["verb"])):
        products = {
            pair: float(probabilities["verb"][row, pair[0]] * probabilities["noun"][row, pair[1]])
            for pair in product(range(CLASSES["verb"]), range(CLASSES["noun"]))
        }
        order = sorted(products, key=products.get, reverse=True)
        right = int(labels["verb"][row]), int(labels["noun"][row])
        ranks.append(order.index(right) if right in products else None)
    return ranks


def slow_reference(views, metric_name):
    """Bring the views together in a loop, then measure by scikit-learn and by sorting all combinations."""
    logits, labels, idx = views
    probabilities = {name: value.double().softmax(1) for name, value in logits.items()}
    if metric_name is not None:
        videos = idx.unique()
        together = {}
        for name, value in probabilities.items():
            stacks = [value[idx == video] for video in videos]
            rows = [s.mean(0) if metric_name == "mean" else s.amax(0) / s.amax(0).sum() for s in stacks]
            together[name] = torch.stack(rows)
        labels = {n: torch.stack([label[idx == video][0] for video in videos]) for n, label in labels.items()}
        probabilities, idx = together, videos
    values = {"loss": 0.0}
    for name, scores in probabilities.items():
        known = labels[name] >= 0
        truth, found, classes = labels[name][known].numpy(), scores[known].numpy(), list(range(CLASSES[name]))
        values[f"{name}_loss"] = log_loss(truth, found, labels=classes)
        values[f"{name}_acc_1"] = accuracy_score(truth, found.argmax(axis=1))
        if CLASSES[name] > 5:
            values[f"{name}_acc_5"] = top_k_accuracy_score(truth, found, k=5, labels=classes)
        values["loss"] += WEIGHTS[name] * values[f"{name}_loss"]
    ranks = [rank for rank in joint_ranks(probabilities, labels) if rank is not None]
    values |= {f"acc_{k}": sum(rank < k for rank in ranks) / len(ranks) for k in (1, 5)}
    values["n_evaluated"] = len(idx[(labels["verb"] >= 0) | (labels["noun"] >= 0)].unique())
    return values


def test_joint_hits__are_those_of_a_sort_of_all_combinations():
    logits, labels, _ = make_views()
    ranks = joint_ranks({name: value.softmax(1) for name, value in logits.items()}, labels)
    found = joint_hits({name: value.log_softmax(1) for name, value in logits.items()}, labels)
    assert 0 < found["acc_1"].sum() < found["acc_5"].sum() < len(ranks)
    for k in (1, 5):
        assert found[f"acc_{k}"].tolist() == [rank is not None and rank < k for rank in ranks]


def test_joint_hits__of_three_targets():
    generator = torch.Generator().manual_seed(0)
    log_p = {name: torch.randn(40, 3, generator=generator).log_softmax(1) for name in "abc"}
    labels = {name: torch.randint(3, (40,), generator=generator) for name in "abc"}
    every = (log_p["a"][:, :, None, None] + log_p["b"][:, None, :, None] + log_p["c"][:, None, None]).flatten(1)
    right = 9 * labels["a"] + 3 * labels["b"] + labels["c"]
    expected = (every.topk(5, dim=1).indices == right[:, None]).any(dim=1)
    assert torch.equal(joint_hits(log_p, labels)["acc_5"], expected)


def test_joint_hits__the_first_is_right_where_every_target_is():
    logits, labels, _ = make_views()
    every = torch.stack([logits[name].argmax(1) == labels[name] for name in CLASSES]).all(dim=0)
    assert torch.equal(joint_hits(logits, labels)["acc_1"], every)


def test_joint_hits__of_few_combinations_have_no_top_5():
    log_p, labels = torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)
    assert list(joint_hits({"a": log_p, "b": log_p}, {"a": labels, "b": labels})) == ["acc_1"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch_size", [3, 55])
def test_target_scores__equal_a_slow_reference_however_views_fall_into_batches(metric, batch_size):
    views = make_views()
    assert measure(metric, views, batch_size) == pytest.approx(slow_reference(views, metric), rel=1e-6)


@pytest.mark.parametrize("split", ["interleaved", "uneven", "one_rank_without_samples"])
@pytest.mark.parametrize("metric", METRICS)
def test_target_scores__of_two_processes_are_those_of_one(evaluations, metric, split):
    expected = measure(metric, make_views())
    for results in evaluations:
        assert results["targets"][metric, split] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_target_scores__failures_are_wrong_in_every_target_and_in_no_loss(metric):
    views = make_views()
    plain = measure(metric, views)
    scores = TargetScores(WEIGHTS, METRICS[metric])
    scores.update(*views)
    scores.add_failures([Failure(1000), Failure(1000), Failure(2000)])
    found = {name: value.item() for name, value in scores.compute().items()}
    known = (VIDEOS - 1) * (VIEWS if metric is None else 1)
    assert found["verb_acc_1"] == pytest.approx(plain["verb_acc_1"] * known / (known + 2))
    known = (VIDEOS - 2) * (VIEWS if metric is None else 1)
    for name in ("noun_acc_1", "acc_1", "acc_5"):
        assert found[name] == pytest.approx(plain[name] * known / (known + 2))
    for name in ("loss", "verb_loss", "n_evaluated"):
        assert found[name] == plain[name]


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")  # that is the case here
@pytest.mark.parametrize("metric", METRICS)
def test_target_scores__without_a_sample_say_so(metric):
    scores = TargetScores(WEIGHTS, METRICS[metric])
    assert scores.compute() == {"n_evaluated": 0.0}
    scores.add_failures([Failure(1)])
    assert scores.compute() == {"verb_acc_1": 0.0, "noun_acc_1": 0.0, "acc_1": 0.0, "n_evaluated": 0.0}


@pytest.mark.parametrize("metric", METRICS)
def test_target_scores__begin_anew_and_have_no_place_in_a_checkpoint(metric):
    scores, views = TargetScores(WEIGHTS, METRICS[metric]), make_views()
    scores.update(*views)
    first = scores.compute()
    assert nn.ModuleList([scores]).state_dict() == {}
    scores.reset()
    scores.update(*views)
    assert scores.compute() == first


def test_target_scores__a_target_without_any_label_is_left_out():
    logits, labels, idx = make_views()
    labels = {**labels, "noun": torch.full_like(labels["noun"], -1)}
    scores = TargetScores(WEIGHTS)
    scores.update(logits, labels, idx)
    values = scores.compute()
    assert {"loss", "verb_loss", "verb_acc_1", "verb_acc_5", "n_evaluated"} == set(values)
    assert values["loss"] == values["verb_loss"]
    assert all(math.isfinite(value) for value in values.values())


def test_target_scores__more_views_than_said_are_an_error():
    scores = TargetScores(WEIGHTS, Aggregation(max_views=VIEWS - 1))
    scores.update(*make_views())
    with pytest.raises(DataError, match=r"has 5 views, and the time augmentation says num_aug=4"):
        scores.compute()
