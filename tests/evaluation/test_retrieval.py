import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from eztorch.evaluation import average_precisions, count_hits
from eztorch.evaluation.comparison import Preparation, check_comparable, classify, retrieve
from eztorch.evaluation.feature_store import FeatureTable
from eztorch.evaluation.knn import count_correct
from eztorch.evaluation.retrieval import mean_feature, prepared
from eztorch.utils.errors import DataError

CPU = torch.device("cpu")
PLAIN = (Preparation(), Preparation())


@pytest.fixture
def sets():
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(6, 10))
    labels = rng.integers(6, size=170)
    features = torch.tensor(centres[labels] + 1.2 * rng.normal(size=(170, 10)) + 3, dtype=torch.float32)
    labels = torch.tensor(labels)
    return (
        FeatureTable(features[120:], labels[120:], source="query"),
        FeatureTable(features[:120], labels[:120], source="bank"),
    )


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_classify__agrees_with_scikit_learn_for_the_whole_grid(sets, temperature):
    query, bank = sets
    found = classify(query, bank, ks=[20, 1, 7, 500], temperatures=[temperature], num_classes=6, device=CPU)
    for k in (1, 7, 20, 120):
        weights = {"weights": lambda distance: np.exp((1 - distance) / temperature)}
        reference = KNeighborsClassifier(k, metric="cosine", algorithm="brute", **weights).fit(
            bank.features, bank.labels
        )
        classes = found[k if k < 120 else 500, temperature]
        assert classes.shape == (50, 5)
        assert classes[:, 0].tolist() == reference.predict(query.features).tolist()
        accuracy = int(count_correct(classes, query.labels)[0]) / 50
        assert accuracy == reference.score(query.features, query.labels)


def test_classify__neighbours_that_tie_vote_as_in_scikit_learn():
    draws = torch.Generator().manual_seed(0)
    places = torch.randint(5, (80,), generator=draws)
    bank = FeatureTable(torch.eye(5)[places], torch.randint(3, (80,), generator=draws), source="bank")
    query = FeatureTable(torch.eye(5), torch.zeros(5).long(), source="query")
    weights = {"weights": lambda distance: np.exp((1 - distance) / 0.07)}
    # All of those that tie are among the neighbours, so it does not matter which come first.
    for place in range(5):
        k = int((places == place).sum())
        reference = KNeighborsClassifier(k, metric="cosine", algorithm="brute", **weights).fit(
            bank.features, bank.labels
        )
        found = classify(query, bank, ks=[k], temperatures=[0.07], num_classes=3, device=CPU)[k, 0.07]
        assert found[place, 0] == reference.predict(query.features[place : place + 1])[0]


def test_classify__a_sample_of_one_set_has_no_vote_for_itself_and_one_without_a_label_none_at_all(sets):
    query, _ = sets
    query.labels[::9] = -1
    found = classify(query, query, ks=[4], temperatures=[0.07], num_classes=6, device=CPU)[4, 0.07]
    weights = {"weights": lambda distance: np.exp((1 - distance) / 0.07)}
    for row in range(50):
        others = (torch.arange(50) != row) & (query.labels >= 0)
        reference = KNeighborsClassifier(4, metric="cosine", algorithm="brute", **weights)
        reference.fit(query.features[others], query.labels[others])
        assert found[row, 0] == reference.predict(query.features[row : row + 1])[0]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_retrieve__agrees_with_brute_force(sets, center, normalize):
    query, bank = sets
    sides = (Preparation(center=center, normalize=normalize),) * 2
    found = retrieve(query, bank, k=20, sides=sides, mean_average_precision=True, device=CPU)
    mean = bank.features.double().mean(dim=0).numpy() if center else 0
    parts = [one.features.double().numpy() - mean for one in (query, bank)]
    if normalize:
        parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    similarity = parts[0] @ parts[1].T
    order = np.argsort(-similarity, axis=1)[:, :20]
    assert np.array_equal(found.neighbours.rows.numpy(), order)
    is_hit = bank.labels.numpy()[order] == query.labels.numpy()[:, None]
    hits = count_hits(query.labels, bank.labels[found.neighbours.rows], [1, 5, 20])
    assert hits.tolist() == [int(is_hit[:, :rank].any(axis=1).sum()) for rank in (1, 5, 20)]
    expected = [
        average_precision_score(bank.labels.numpy() == int(label), row)
        for label, row in zip(query.labels, similarity, strict=True)
    ]
    np.testing.assert_allclose(found.average_precisions.numpy(), expected, atol=1e-9)


def test_retrieve__neighbours_are_those_of_scikit_learn_and_a_sample_of_one_set_does_not_find_itself(sets):
    query, _ = sets
    found = retrieve(query, query, k=3, sides=PLAIN, mean_average_precision=True, device=CPU)
    reference = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(query.features)
    index = reference.kneighbors(query.features, return_distance=False)
    assert [row[0] for row in index] == list(range(50))
    assert np.array_equal(found.neighbours.rows.numpy(), index[:, 1:])
    unit = torch.nn.functional.normalize(query.features)
    for row in range(50):
        others = torch.arange(50) != row
        relevant = (query.labels == query.labels[row])[others].numpy()
        expected = average_precision_score(relevant, (unit @ unit[row])[others].numpy())
        assert float(found.average_precisions[row]) == pytest.approx(expected)


def test_average_precisions__of_ties_go_by_the_order_of_the_bank():
    bank = torch.eye(3)[torch.tensor([0, 1, 0, 0, 2])]
    labels = torch.tensor([1, 0, 0, 1, 1])
    found = average_precisions(torch.eye(3)[:1], torch.tensor([1]), bank, labels)
    # In order: rows 0, 2, 3 (similarity 1), then 1, 4: of the class at the places 1, 3 and 5.
    assert found.tolist() == [pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)]


def test_average_precisions__are_zero_without_a_sample_of_the_class_or_without_a_label():
    bank = torch.eye(3)
    assert average_precisions(bank[:2], torch.tensor([7, -1]), bank, torch.tensor([0, 1, -1])).tolist() == [0, 0]


def test_mean_feature__is_that_of_all_rows(sets):
    torch.testing.assert_close(mean_feature(sets[1]), sets[1].features.double().mean(dim=0))
    centred = prepared(sets[1].features, centre=mean_feature(sets[1]), normalize=False)
    torch.testing.assert_close(centred.mean(dim=0), torch.zeros(10), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("query", "bank", "text"),
    [
        (FeatureTable(torch.ones(2, 3), torch.zeros(2).long(), source="q"), "bank", "q have 3 values.*bank 10"),
        (FeatureTable(torch.ones(0, 10), torch.zeros(0).long(), source="q"), "bank", "q: there are no features"),
        (FeatureTable(torch.ones(2, 10), torch.zeros(2, 4), source="q"), "bank", "q: its samples have several labels"),
        ("query", FeatureTable(torch.ones(2, 10), -torch.ones(2).long(), source="b"), "b: none of its 2 samples"),
    ],
)
def test_check_comparable__says_what_does_not_fit(sets, query, bank, text):
    with pytest.raises(DataError, match=text):
        check_comparable(sets[0] if query == "query" else query, sets[1] if bank == "bank" else bank)
