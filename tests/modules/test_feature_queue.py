from collections import deque

import pytest
import torch

from eztorch.modules import FeatureQueue
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import seed_everything_at


def _rows(start, number, dim=2):
    return torch.arange(start, start + number, dtype=torch.float32)[:, None].expand(number, dim)


@pytest.mark.parametrize("batches", [[4, 4, 4], [3] * 7, [5, 2, 9, 1], [10], [23], [7, 10, 25, 0, 4]])
def test_feature_queue__keeps_the_last_rows_in_a_ring(batches):
    queue = FeatureQueue(10, feature_dim=2)
    reference = deque(queue.features.clone(), maxlen=10)  # oldest first
    start = 1000
    for number in batches:
        queue.enqueue(_rows(start, number))
        reference.extend(_rows(start, number))
        start += number
        assert int(queue.pointer) == (start - 1000) % 10
        oldest_first = queue.features.roll(-int(queue.pointer), dims=0)
        torch.testing.assert_close(oldest_first, torch.stack(list(reference)), rtol=0, atol=0)


def test_feature_queue__starts_with_normalised_directions_of_the_run_seed_alone():
    seed_everything_at(1)
    first = FeatureQueue(50, feature_dim=8).features
    drawn = torch.rand(1)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(50))
    assert first.unique(dim=0).shape[0] == 50
    seed_everything_at(1)
    torch.testing.assert_close(torch.rand(1), drawn, rtol=0, atol=0)  # the global generator was left alone
    seed_everything_at(2)
    torch.testing.assert_close(FeatureQueue(50, feature_dim=8).features, first, rtol=0, atol=0)


def test_feature_queue__seed_of_the_run_changes_the_start(monkeypatch):
    first = FeatureQueue(5, feature_dim=3).features
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    assert not torch.equal(FeatureQueue(5, feature_dim=3).features, first)


def test_feature_queue__state_dict_restores_rows_and_position():
    queue = FeatureQueue(5, feature_dim=2)
    queue.enqueue(_rows(0, 3))
    state = {name: value.clone() for name, value in queue.state_dict().items()}
    assert list(state) == ["features", "pointer"]
    restored = FeatureQueue(5, feature_dim=2)
    restored.enqueue(_rows(50, 4))
    restored.load_state_dict(state)
    for q in (queue, restored):
        q.enqueue(_rows(10, 4))
    torch.testing.assert_close(dict(restored.state_dict()), dict(queue.state_dict()), rtol=0, atol=0)


def test_feature_queue__position_survives_a_cast_and_keys_take_the_dtype_of_the_queue():
    queue = FeatureQueue(300, feature_dim=2).to(torch.bfloat16)
    queue.enqueue(_rows(0, 299))
    assert queue.pointer.dtype == torch.long
    assert int(queue.pointer) == 299
    assert queue.features.dtype == torch.bfloat16
    assert queue.features[-2, 0] == torch.tensor(298.0).bfloat16()


def test_feature_queue__does_not_hold_on_to_graphs():
    queue = FeatureQueue(4, feature_dim=2)
    queue.enqueue(torch.ones(2, 2, requires_grad=True) * 2)
    assert not queue.features.requires_grad


@pytest.mark.parametrize("shape", [(4, 128), (128,), (2, 2, 128)])
def test_feature_queue__names_both_dimensions_of_a_mismatch(shape):
    queue = FeatureQueue(8, feature_dim=256)
    with pytest.raises(ConfigError, match=r"queue\.feature_dim=256.*have 128 features.*set queue\.feature_dim=128"):
        queue.enqueue(torch.zeros(shape))


@pytest.mark.parametrize(("size", "feature_dim", "message"), [(0, 4, "queue.size=0"), (4, 0, "queue.feature_dim=0")])
def test_feature_queue__refuses_empty_sizes(size, feature_dim, message):
    with pytest.raises(ConfigError, match=message):
        FeatureQueue(size, feature_dim)
