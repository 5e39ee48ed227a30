import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from eztorch.evaluation import nearest_neighbours
from eztorch.utils.errors import DataError


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    bank, queries = rng.normal(size=(150, 12)), rng.normal(size=(31, 12))
    return tuple(torch.tensor(one / np.linalg.norm(one, axis=1, keepdims=True)) for one in (bank, queries))


@pytest.mark.parametrize("k", [1, 7, 150, 500])
def test_nearest_neighbours__agree_with_scikit_learn(data, k):
    bank, queries = data
    distance, index = (
        NearestNeighbors(n_neighbors=min(k, 150), metric="cosine", algorithm="brute").fit(bank).kneighbors(queries)
    )
    found = nearest_neighbours(queries, bank, k=k)
    assert np.array_equal(found.rows.numpy(), index)
    np.testing.assert_allclose(found.similarity.numpy(), 1 - distance, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 8, 31, 64])
@pytest.mark.parametrize("block", [1, 40, 149, 150])
def test_nearest_neighbours__do_not_depend_on_the_blocks(data, rows, block):
    bank, queries = data
    expected = nearest_neighbours(queries, bank, k=9)
    found = nearest_neighbours(queries, bank.split(block), k=9, query_rows=rows)
    assert torch.equal(found.rows, expected.rows)
    torch.testing.assert_close(found.similarity, expected.similarity)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_nearest_neighbours__that_are_equally_near_come_in_the_order_of_the_bank(block):
    draws = torch.Generator().manual_seed(0)
    bank = torch.eye(4)[torch.randint(4, (60,), generator=draws)]  # products of 0 and 1: all ties are exact
    queries = torch.eye(4)
    for k in (1, 5, 11, 30, 60):
        found = nearest_neighbours(queries, bank.split(block), k=k)
        for number, query in enumerate(queries):
            similarity = (bank @ query).tolist()
            expected = sorted(range(60), key=lambda row, s=similarity: (-s[row], row))[:k]
            assert found.rows[number].tolist() == expected


def test_nearest_neighbours__leave_out_what_is_the_query_itself(data):
    bank, _ = data
    ids = torch.arange(150) * 2
    found = nearest_neighbours(bank[5:9], bank.split(40), k=150, query_ids=ids[5:9], bank_ids=ids)
    reference = NearestNeighbors(n_neighbors=150, metric="cosine", algorithm="brute").fit(bank)
    index = reference.kneighbors(bank[5:9], return_distance=False)
    for number in range(4):
        others = [row for row in index[number] if row != 5 + number]
        assert found.rows[number].tolist() == [*others, -1]
        assert found.similarity[number, -1] == -torch.inf


def test_nearest_neighbours__of_no_queries_are_none(data):
    bank, queries = data
    assert nearest_neighbours(queries[:0], bank, k=3).rows.shape == (0, 3)


def test_nearest_neighbours__refuse_what_is_no_number(data):
    bank, queries = data
    bank[93, 2] = torch.nan
    with pytest.raises(DataError, match="Row 93 of the bank features"):
        nearest_neighbours(queries, bank.split(40), k=3)
    queries[4, 0] = torch.inf
    with pytest.raises(DataError, match="Row 4 of the query features"):
        nearest_neighbours(queries, bank, k=3)
