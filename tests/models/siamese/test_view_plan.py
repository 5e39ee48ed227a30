from __future__ import annotations

import itertools

import pytest
import torch

from eztorch.models.siamese.view_plan import ViewPlan, combine_patches, split_patches
from eztorch.utils.errors import ConfigError, DataError


def test_view_plan__sym_compares_global_keys_with_every_other_view():
    plan = ViewPlan(num_global_crops=2, num_local_crops=2, sym=True)
    assert plan.key_views == (0, 1)
    assert plan.query_views == (0, 1, 2, 3)
    assert set(plan.pairs) == {(k, q) for k in (0, 1) for q in range(4) if k != q}


def test_view_plan__without_sym_view_0_is_the_key_of_all_others():
    plan = ViewPlan(num_global_crops=3, num_local_crops=1, sym=False)
    assert plan.key_views == (0,)
    assert plan.query_views == (1, 2, 3)
    assert plan.pairs == ((0, 1), (0, 2), (0, 3))


def test_view_plan__one_global_crop_needs_local_crops():
    assert ViewPlan(num_global_crops=1, num_local_crops=2, sym=True).pairs == ((0, 1), (0, 2))
    with pytest.raises(ConfigError, match="num_global_crops=1 and num_local_crops=0"):
        ViewPlan(num_global_crops=1)


def test_view_plan__itself_compares_each_view_with_itself_alone():
    plan = ViewPlan(num_global_crops=2, num_local_crops=1, itself=True)
    assert plan.key_views == plan.query_views == (0, 1, 2)
    assert plan.pairs == ((0, 0), (1, 1), (2, 2))
    assert ViewPlan(num_global_crops=1, itself=True).pairs == ((0, 0),)
    with pytest.raises(ConfigError, match=r"model\.sym=false"):
        ViewPlan(itself=True, sym=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_global_crops": 0, "num_local_crops": 3}, "num_global_crops=0 must be at least 1"),
        ({"num_local_crops": -1}, "num_local_crops=-1 at least 0"),
        ({"num_splits": 1}, "num_splits=1 must be 0"),
        ({"num_splits": -2}, "num_splits=-2 must be 0"),
        ({"num_splits": 2, "num_splits_per_combination": 5}, "num_splits_per_combination=5 .* 4 patches"),
        ({"num_splits": 2, "num_splits_per_combination": 0}, "num_splits_per_combination=0 "),
    ],
)
def test_view_plan__numbers_out_of_range_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        ViewPlan(**values)


def test_check__names_both_numbers_of_views():
    plan = ViewPlan(num_global_crops=2, num_local_crops=1)
    views = [torch.zeros(1)] * 3
    assert plan.check(tuple(views)) == views
    with pytest.raises(DataError, match=r"has 2 view\(s\) and the model expects 3 \(num_global_crops=2"):
        plan.check(views[:2])
    with pytest.raises(DataError, match=r"has 1 view\(s\) and the model expects 3"):
        plan.check(torch.zeros(3, 1))


def test_passes__one_a_view_without_mutual_pass():
    views = [torch.zeros(2, 3, 8, 8)] * 3
    assert ViewPlan(num_global_crops=3).passes(views, (0, 2)) == [[0], [2]]


def test_passes__mutual_pass_groups_views_of_the_same_shape():
    views = [torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)]
    plan = ViewPlan(num_global_crops=2, num_local_crops=2, sym=True, mutual_pass=True)
    assert plan.passes(views, plan.query_views) == [[0, 1], [2, 3]]
    assert plan.passes(views, plan.key_views) == [[0, 1]]


def test_passes__views_in_patches_and_whole_ones_stay_apart():
    views = [torch.zeros(2, 3, 8, 8)] * 3
    plan = ViewPlan(num_global_crops=2, num_local_crops=1, sym=True, mutual_pass=True, num_splits=2)
    assert plan.passes(views, plan.query_views) == [[0, 1], [2]]


def test_split_patches__equals_slices_of_clips():
    x = torch.rand(2, 3, 4, 6, 9)
    patches = split_patches(x, 3)
    assert patches.shape == (18, 3, 4, 2, 3)
    for row, column, sample in itertools.product(range(3), range(3), range(2)):
        expected = x[sample, :, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        assert torch.equal(patches[(3 * row + column) * 2 + sample], expected)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 3, 5, 4)])
def test_split_patches__refuses_sizes_that_do_not_divide(shape):
    with pytest.raises(ConfigError, match=f"num_splits=2 .* height {shape[2]} and width {shape[3]}"):
        split_patches(torch.zeros(shape), 2)


def test_combine_patches__equals_means_over_all_combinations():
    h = torch.rand(4 * 5, 6)  # 4 patches of 5 samples
    combined = combine_patches(h, num_splits=2, num_per_combination=2)
    assert combined.shape == (6 * 5, 6)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    for number, (a, b) in enumerate(pairs):
        for sample in range(5):
            expected = (h[a * 5 + sample] + h[b * 5 + sample]) / 2
            torch.testing.assert_close(combined[number * 5 + sample], expected)
