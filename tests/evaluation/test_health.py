import math

import pytest
import torch

from eztorch.evaluation import effective_rank, feature_std


def test_feature_std__is_one_over_the_root_of_the_dimension_on_the_sphere():
    features = torch.randn(20000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(features).item() == pytest.approx(1 / math.sqrt(64), rel=0.01)


def test_feature_std__is_zero_for_one_direction_of_any_length():
    assert feature_std(torch.arange(1.0, 9)[:, None] * torch.ones(1, 4)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [(50, 8), (8, 50)])
def test_effective_rank__equals_the_entropy_of_the_singular_values(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        0.7 ** torch.arange(shape[1])
    )
    singular = torch.linalg.svdvals(features.double())
    p = singular / singular.sum()
    assert effective_rank(features).item() == pytest.approx(math.exp(-(p * p.log()).sum()), rel=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank__is_the_rank_of_an_orthogonal_matrix(rank):
    basis = torch.linalg.qr(torch.randn(32, 8, generator=torch.Generator().manual_seed(0))).Q
    assert effective_rank(basis[:, :rank] @ torch.eye(8)[:rank]).item() == pytest.approx(rank, rel=1e-4)


def test_effective_rank__takes_half_precision():
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert effective_rank(features).item() == pytest.approx(effective_rank(features.double()).item())


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_effective_rank__of_features_that_tell_nothing_is_not_a_number(value):
    assert math.isnan(effective_rank(torch.full((4, 3), value)).item())
