import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from eztorch.evaluation import count_correct, knn_predict
from eztorch.utils.errors import ConfigError


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 12))
    labels = rng.integers(5, size=160)
    features = centres[labels] + rng.normal(size=(160, 12))
    return torch.tensor(features[:120]), torch.tensor(labels[:120]), torch.tensor(features[120:])


@pytest.mark.parametrize("k", [1, 7, 20])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_knn__agrees_with_scikit_learn(data, k, temperature):
    bank, labels, queries = data
    reference = KNeighborsClassifier(
        n_neighbors=k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / temperature)
    ).fit(bank, labels)
    predictions = knn_predict(bank, labels, queries, k=k, temperature=temperature)
    assert predictions[:, 0].tolist() == reference.predict(queries).tolist()
    order = np.argsort(-reference.predict_proba(queries), axis=1, kind="stable")
    if k == 20:  # with few neighbours most classes have no vote and tie
        assert (predictions[:, :2].numpy() == order[:, :2]).mean() > 0.97


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_knn__does_not_depend_on_the_chunk(data, chunk):
    bank, labels, queries = data
    expected = knn_predict(bank, labels, queries)
    assert torch.equal(knn_predict(bank, labels, queries, chunk=chunk), expected)


def test_knn__takes_the_whole_bank_when_it_has_fewer_than_k(data):
    bank, labels, queries = data
    assert torch.equal(knn_predict(bank, labels, queries, k=1000), knn_predict(bank, labels, queries, k=120))


def test_knn__rows_without_a_label_do_not_vote(data):
    bank, labels, queries = data
    strangers = torch.cat([bank, queries])  # each query would be its own nearest neighbour
    marked = torch.cat([labels, torch.full((40,), -1)])
    assert torch.equal(knn_predict(strangers, marked, queries, num_classes=5), knn_predict(bank, labels, queries))


def test_knn__exclude_self_leaves_the_query_out_of_its_own_vote(data):
    bank, labels, _ = data
    labels = labels.clone()
    labels[::7] = -1
    found = knn_predict(bank, labels, bank, k=5, exclude_self=True, chunk=32, num_classes=5)
    for index in range(len(bank)):
        others = torch.arange(len(bank)) != index
        expected = knn_predict(bank[others], labels[others], bank[index : index + 1], k=5, num_classes=5)
        assert torch.equal(found[index], expected[0])


def test_knn__works_in_float32_on_half_precision_features(data):
    bank, labels, queries = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in data)
    expected = knn_predict(bank.double(), labels, queries.double())
    assert torch.equal(knn_predict(bank, labels, queries), expected)


def test_knn__of_no_queries_is_empty(data):
    bank, labels, queries = data
    assert knn_predict(bank, labels, queries[:0], num_classes=5).shape == (0, 5)


def test_knn__a_tiny_temperature_lets_the_nearest_decide(data):
    bank, labels, queries = data
    nearest = knn_predict(bank, labels, queries, k=1)[:, 0]
    assert torch.equal(knn_predict(bank, labels, queries, k=50, temperature=1e-3)[:, 0], nearest)


def test_knn__errors_name_the_value(data):
    bank, labels, queries = data
    with pytest.raises(ConfigError, match="k=0"):
        knn_predict(bank, labels, queries, k=0)
    with pytest.raises(ConfigError, match="None of the 120 samples"):
        knn_predict(bank, torch.full_like(labels, -1), queries)
    with pytest.raises(ConfigError, match="got 40 and 120 rows"):
        knn_predict(bank, labels, queries, exclude_self=True)


def test_count_correct__skips_what_has_no_label():
    predictions = torch.tensor([[2, 0, 1], [0, 1, 2], [1, 0, 2], [0, 1, 2]])
    labels = torch.tensor([2, 1, 2, -1])
    assert count_correct(predictions, labels).tolist() == [1, 3]
    assert count_correct(predictions, labels, top=2).tolist() == [2, 3]
    assert count_correct(predictions, labels, top=3).tolist() == [3, 3]
