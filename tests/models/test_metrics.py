import math

import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch.nn import functional as F

from eztorch.datasets.failures import SampleFailure
from eztorch.models import views as views_module
from eztorch.models.metrics import SampleMean, ViewAverage, accuracies, evaluation_metric, hits
from eztorch.models.views import Aggregation
from eztorch.utils.errors import ConfigError, DataError

CLASSES, VIDEOS, VIEWS = 7, 11, 5


@pytest.fixture
def views():
    """Logits (55, 7), labels and video index (55,) of 11 videos with 5 views each, shuffled; video 3 has no label."""
    generator = torch.Generator().manual_seed(0)
    idx = torch.arange(VIDEOS).repeat_interleave(VIEWS)[torch.randperm(VIDEOS * VIEWS, generator=generator)]
    labels = torch.randint(CLASSES, (VIDEOS,), generator=generator)
    labels[3] = -1
    return 3 * torch.randn(len(idx), CLASSES, generator=generator), labels[idx], idx * 10


def sample_reference(logits, labels, idx):
    """Measure each view by itself with scikit-learn."""
    truth, scores, classes = labels[labels >= 0], logits[labels >= 0].double().softmax(1), range(CLASSES)
    return {
        "loss": log_loss(truth, scores, labels=classes),
        **{f"acc_{k}": top_k_accuracy_score(truth, scores, k=k, labels=classes) for k in (1, 5)},
        "n_evaluated": len(idx[labels >= 0].unique()),
    }


def slow_reference(logits, labels, idx, reduction, of="probabilities"):
    """Gather the views of each video in a loop, then measure with scikit-learn."""
    by_video = {}
    for row, label, video in zip(logits.double(), labels.tolist(), idx.tolist(), strict=True):
        if label >= 0:
            by_video.setdefault(video, (label, []))[1].append(row.softmax(0) if of == "probabilities" else row)
    truth = torch.tensor([label for label, _ in by_video.values()])
    stacks = [torch.stack(rows) for _, rows in by_video.values()]
    together = torch.stack([s.mean(0) if reduction == "mean" else s.amax(0) for s in stacks])
    if of == "probabilities":  # whose logarithms are logits of them
        together = (together / together.sum(1, keepdim=True)).log()
    views = sample_reference(logits, labels, idx)
    return {
        **sample_reference(together, truth, torch.arange(len(truth))),
        "clip_acc_1": views["acc_1"],
        "clip_acc_5": views["acc_5"],
        "n_clips": int((labels >= 0).sum()),
    }


def measure(metric, logits, labels, idx, batch_size):
    for batch in zip(logits.split(batch_size), labels.split(batch_size), idx.split(batch_size), strict=True):
        metric.update(*batch)
    return {name: value.item() for name, value in metric.compute().items()}


def test_hits__equal_scikit_learn(views):
    logits, labels, _ = views
    found = hits(logits[labels >= 0], labels[labels >= 0])
    for k in (1, 5):
        expected = top_k_accuracy_score(
            labels[labels >= 0], logits[labels >= 0], k=k, labels=range(CLASSES), normalize=False
        )
        assert found[f"acc_{k}"].sum().item() == expected


@pytest.mark.parametrize(
    ("classes", "names"), [(1, ["acc_1"]), (2, ["acc_1"]), (5, ["acc_1"]), (6, ["acc_1", "acc_5"])]
)
def test_accuracies__leave_out_the_top_5_of_few_classes(classes, names):
    assert list(accuracies(torch.randn(4, classes), torch.zeros(4, dtype=torch.long))) == names


def test_accuracies__ignore_samples_without_a_label():
    logits = torch.tensor([[3.0, 1.0], [3.0, 1.0], [3.0, 1.0], [0.0, 1.0]])
    assert accuracies(logits, torch.tensor([0, -1, 1, -1]))["acc_1"] == 0.5


def test_accuracies__of_no_label_are_not_a_number():
    assert math.isnan(accuracies(torch.randn(2, 3), torch.tensor([-1, -1]))["acc_1"])


@pytest.mark.parametrize("of", ["probabilities", "logits"])
@pytest.mark.parametrize("reduction", ["mean", "max"])
@pytest.mark.parametrize("batch_size", [1, 4, 55])
def test_view_average__equals_a_slow_reference_however_views_fall_into_batches(views, reduction, of, batch_size):
    expected = slow_reference(*views, reduction, of)
    metric = ViewAverage(Aggregation(reduction, of))
    assert measure(metric, *views, batch_size) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("of", ["probabilities", "logits"])
@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_view_average__adding_up_in_between_changes_nothing(views, reduction, of, monkeypatch):
    whole = measure(ViewAverage(Aggregation(reduction, of)), *views, 4)
    monkeypatch.setattr(views_module, "_MAX_PENDING", 6)
    assert measure(ViewAverage(Aggregation(reduction, of)), *views, 4) == pytest.approx(whole, rel=1e-7)


def test_view_average__of_logits_may_be_negative_all():
    metric = ViewAverage(Aggregation("max", "logits"))
    metric.update(torch.tensor([[-3.0, -1.0], [-2.0, -4.0]]), torch.tensor([0, 0]), torch.tensor([0, 0]))
    expected = torch.tensor([[-2.0, -1.0]])
    assert metric.compute()["loss"] == pytest.approx(F.cross_entropy(expected, torch.tensor([0])).item())


def test_view_average__keeps_a_row_a_video_not_its_views(monkeypatch):
    monkeypatch.setattr(views_module, "_MAX_PENDING", 8)
    metric = ViewAverage()
    for _ in range(50):
        metric.update(torch.randn(4, 3), torch.zeros(4, dtype=torch.long), torch.tensor([0, 1, 2, 3]))
        assert metric.views.num_pending < 8
    videos = metric.views.videos()
    assert videos.scores.shape == (4, 3)
    assert videos.counts.tolist() == [50] * 4


def test_clip_accuracy__counts_views_and_not_videos():
    metric = ViewAverage()
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 1.0], [1.0, 0.0]])
    metric.update(logits, torch.tensor([0, 0, 0, -1]), torch.tensor([0, 1, 1, 2]))
    found = metric.compute()
    assert (found["acc_1"], found["n_evaluated"]) == (0.5, 2)
    assert (found["clip_acc_1"].item(), found["n_clips"]) == (pytest.approx(1 / 3), 3)


def test_clip_accuracy__of_a_failure_that_counts_is_that_of_a_video_of_the_average():
    metric = ViewAverage()
    metric.update(torch.tensor([[2.0, 0.0]] * 6), torch.tensor([0] * 6), torch.tensor([0, 0, 0, 1, 1, 1]))
    metric.add_failures([SampleFailure(2, "v", "pyav", "torn", 0, 1, True)])
    found = metric.compute()
    assert found["clip_acc_1"].item() == pytest.approx(6 / 9)
    assert (found["acc_1"].item(), found["n_clips"]) == (pytest.approx(2 / 3), 6)


def test_view_average__the_loss_is_that_of_the_mean_probability():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    metric = ViewAverage()
    metric.update(logits, torch.tensor([0, 0]), torch.tensor([5, 5]))
    assert metric.compute()["loss"] == pytest.approx(-math.log(logits.softmax(1)[:, 0].mean()))


def test_view_average__of_one_view_has_the_cross_entropy_also_where_probabilities_vanish():
    logits = torch.tensor([[0.0, 300.0], [1.0, 2.0]])
    metric = ViewAverage()
    metric.update(logits, torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert metric.compute()["loss"].item() == pytest.approx(F.cross_entropy(logits, torch.tensor([0, 1])).item())


def test_view_average__takes_half_precision(views):
    logits, labels, idx = views
    half = logits.bfloat16()
    expected = slow_reference(half, labels, idx, "mean")
    assert measure(ViewAverage(), half, labels, idx, 10) == pytest.approx(expected, rel=1e-6)


def test_view_average__may_be_reset_and_used_again(views):
    metric = ViewAverage()
    first = measure(metric, *views, 4)
    metric.reset()
    assert measure(metric, *views, 4) == first


def test_view_average__more_views_than_said_is_an_error(views):
    assert measure(ViewAverage(Aggregation(max_views=VIEWS)), *views, 4)["n_evaluated"] == VIDEOS - 1
    with pytest.raises(DataError, match=r"Video 0 has 5 views, .* num_aug=4"):
        measure(ViewAverage(Aggregation(max_views=4)), *views, 4)


def test_sample_mean__measures_each_sample_by_itself(views):
    logits, labels, idx = views
    values = measure(SampleMean(), logits, labels, idx, 4)
    assert values == pytest.approx(sample_reference(logits, labels, idx), rel=1e-6)


@pytest.mark.parametrize("metric", [SampleMean(), ViewAverage()])
def test_metrics__without_a_label_say_how_many_were_evaluated(metric):
    metric.update(torch.randn(3, 4), torch.tensor([-1, -1, -1]), torch.tensor([0, 1, 2]))
    assert metric.compute() == {"n_evaluated": 0.0}


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")  # that is the case here
@pytest.mark.parametrize("metric", [SampleMean(), ViewAverage()])
def test_metrics__without_a_sample_say_how_many_were_evaluated(metric):
    assert metric.compute() == {"n_evaluated": 0.0}


@pytest.mark.parametrize("metric", [SampleMean(), ViewAverage()])
def test_metrics__have_no_place_in_a_checkpoint(metric, views):
    measure(metric, *views, 4)
    assert metric.state_dict() == {}


def test_evaluation_metric__chooses_by_the_name():
    assert isinstance(evaluation_metric(None, "key"), SampleMean)
    for name, reduction in {"avg_group": "mean", "same_avg": "mean", "same_max": "max"}.items():
        for of in ("probabilities", "logits"):
            metric = evaluation_metric({"name": name, "num_aug": 30, "of": of}, "key")
            assert metric.aggregation == Aggregation(reduction, of, 30)
    assert evaluation_metric({"name": "avg_group"}, "key", multi_label=True).aggregation == Aggregation()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "avg"}, r"model.val_time_augmentation.name='avg' is not known.*'avg_group', 'same_avg', 'same_max'"),
        ({"num_aug": 3}, r"model.val_time_augmentation=.* must have a name"),
        ({"name": "avg_group", "crops": 3}, r"model.val_time_augmentation=.*'crops': 3.* nothing else"),
        ({"name": "avg_group", "off": "logits"}, r"Did you mean 'of'\?"),
        ({"name": "avg_group", "of": "logit"}, r"model.val_time_augmentation.of='logit' .* Did you mean 'logits'\?"),
    ],
)
def test_evaluation_metric__says_what_is_wrong(spec, message):
    with pytest.raises(ConfigError, match=message):
        evaluation_metric(spec, "model.val_time_augmentation")


@pytest.mark.parametrize("split", ["interleaved", "uneven", "one_rank_without_samples"])
@pytest.mark.parametrize("metric", ["mean", "max", "samples"])
def test_metrics__of_two_processes_are_those_of_one(evaluations, views, metric, split):
    one = SampleMean() if metric == "samples" else ViewAverage(Aggregation(metric))
    expected = measure(one, *views, 4)
    for results in evaluations:
        assert results["metrics"][metric, split] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("metric", ["mean", "max", "samples"])
def test_metrics__of_two_processes_without_samples_say_so(evaluations, metric):
    for results in evaluations:
        assert results["metrics"][metric, "no_samples"] == {"n_evaluated": 0.0}
