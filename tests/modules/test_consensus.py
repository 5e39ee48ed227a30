"""What makes features of a clip from those of its frames."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from eztorch.modules import MeanConsensus, TemporalRelation, multi_scale_relation
from eztorch.modules.consensus import nth_tuple
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import seed_everything_at

C, T = 6, 5


def slow_relations(consensus, features, tuples):
    """TRN, equations 2 to 4: tuple by tuple, clip by clip."""
    results = []
    for clip in features:
        parts = []
        for layer, chosen in zip(consensus.relations, tuples, strict=True):
            total = torch.zeros(layer.out_features)
            for choice in chosen:
                frames = [F.relu(consensus.project(clip[frame])) for frame in choice]
                total = total + F.relu(layer(torch.cat(frames)))
            parts.append(total)
        results.append(torch.cat(parts))
    return torch.stack(results)


def test_mean__averages_any_number_of_frames():
    features = torch.randn(2, 7, C)
    assert torch.equal(MeanConsensus(C)(features), features.mean(dim=1))


@pytest.mark.parametrize(("num_frames", "length"), [(5, 2), (5, 5), (6, 3), (4, 1)])
def test_nth_tuple__gives_every_tuple_in_order(num_frames, length):
    places = range(math.comb(num_frames, length))
    assert [nth_tuple(num_frames, length, place) for place in places] == list(combinations(range(num_frames), length))


def test_relation__of_one_scale_is_over_all_frames_in_order():
    consensus = TemporalRelation(C, T, frame_dim=4, relation_dim=3)
    features = torch.randn(2, T, C)
    assert consensus.output_dim == 3
    assert torch.allclose(consensus(features), slow_relations(consensus, features, [[tuple(range(T))]]), atol=1e-6)
    assert not torch.allclose(consensus(features), consensus(features.flip(1)))
    assert torch.equal(consensus(features), consensus.eval()(features))


def test_multi_scale_relation__sums_the_tuples_of_every_length():
    consensus = multi_scale_relation(C, T, frame_dim=4, relation_dim=3, num_relations=100)
    features = torch.randn(2, T, C)
    every = [list(combinations(range(T), length)) for length in range(T, 1, -1)]
    assert consensus.output_dim == 4 * 3
    assert torch.allclose(consensus(features), slow_relations(consensus, features, every), atol=1e-5)


def test_multi_scale_relation__evaluates_on_tuples_that_are_spread_evenly():
    consensus = multi_scale_relation(C, T, frame_dim=4, relation_dim=3).eval()
    features = torch.randn(2, T, C)
    chosen = []
    for length in range(T, 1, -1):
        every = list(combinations(range(T), length))
        count = len(every)
        chosen.append(every if count <= 3 else [every[count // 6], every[count // 2], every[count * 5 // 6]])
    assert torch.allclose(consensus(features), slow_relations(consensus, features, chosen), atol=1e-6)
    torch.manual_seed(1)
    first = consensus(features)
    torch.manual_seed(2)
    assert torch.equal(consensus(features), first)


def test_multi_scale_relation__draws_by_the_address_of_the_step():
    consensus = multi_scale_relation(C, 8, frame_dim=4, relation_dim=3)
    features = torch.randn(2, 8, C)

    def at(*address):
        seed_everything_at(*address)
        return consensus(features)

    assert torch.equal(at(0, 1, 2, 0), at(0, 1, 2, 0))
    assert not torch.equal(at(0, 1, 2, 0), at(0, 1, 3, 0))
    assert not torch.equal(at(0, 1, 2, 0), at(0, 1, 2, 1))


def test_multi_scale_relation__draws_every_tuple_equally_often_and_none_twice():
    consensus = multi_scale_relation(C, T, num_relations=3)
    torch.manual_seed(0)
    counts: Counter[tuple[int, ...]] = Counter()
    for _ in range(2000):
        pairs = consensus._tuples()[-1]
        assert len(set(pairs)) == 3
        counts.update(pairs)
    assert set(counts) == set(combinations(range(T), 2))
    assert all(abs(count - 600) < 100 for count in counts.values())  # 5 standard deviations


def test_multi_scale_relation__needs_no_list_of_the_tuples_of_long_clips():
    consensus = multi_scale_relation(C, 40, frame_dim=2, relation_dim=2)
    assert consensus(torch.randn(1, 40, C)).shape == (1, 39 * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": None}, "num_frames=None; relations need"),
        ({"num_frames": 1}, "num_frames=1; relations need"),
        ({"num_frames": 4, "scales": [5]}, r"scales=\[5\]; expected lengths of tuples of 4"),
        ({"num_frames": 4, "scales": []}, r"scales=\[\]"),
        ({"num_frames": 4, "num_relations": 0}, "num_relations=0"),
    ],
)
def test_relation__errors_name_the_argument(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TemporalRelation(C, **arguments)


def test_relation__refuses_another_number_of_frames():
    with pytest.raises(ConfigError, match="num_frames=5 of the model, and its clips have 4 frames"):
        TemporalRelation(C, T)(torch.randn(2, 4, C))
