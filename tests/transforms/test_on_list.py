from __future__ import annotations

import pytest
import torch
from torch import nn

from eztorch.transforms import ApplySameTransformOnList, ApplyTransformOnList, ApplyTransformsOnList
from eztorch.utils.errors import ConfigError


class AddNoise(nn.Module):
    def forward(self, clip):
        return clip + torch.rand(())


def test_apply_transform_on_list__draws_for_every_element():
    one, two = ApplyTransformOnList(AddNoise())([torch.zeros(1), torch.zeros(1)])
    assert one != two


def test_apply_transforms_on_list__gives_every_element_its_own_transform():
    transform = ApplyTransformsOnList([nn.BatchNorm1d(2, affine=False), lambda views: views * 2])
    assert next(name for name, _ in transform.named_buffers()) == "transforms.0.running_mean"  # moves with the model
    _, doubled = transform([torch.zeros(3, 2), torch.ones(3, 2)])
    assert torch.equal(doubled, torch.full((3, 2), 2.0))


@pytest.mark.parametrize("dim", [0, 1])
def test_apply_same_transform_on_list__draws_once_for_all(dim):
    one, two = ApplySameTransformOnList(AddNoise(), dim=dim)([torch.zeros(2, 2), torch.ones(2, 2)])
    torch.testing.assert_close(two - one, torch.ones(2, 2))


def test_apply_same_transform_on_list__parts_elements_of_different_lengths():
    parts = ApplySameTransformOnList(nn.Identity())([torch.zeros(3, 2), torch.ones(3, 5)])
    assert [tuple(part.shape) for part in parts] == [(3, 2), (3, 5)]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (ApplyTransformOnList(abs, list_len=3), "ApplyTransformOnList was given 2 views where it expects 3"),
        (ApplyTransformsOnList([abs]), "ApplyTransformsOnList was given 2 views where it expects 1"),
        (ApplySameTransformOnList(abs, list_len=1), "ApplySameTransformOnList was given 2 views where it expects 1"),
    ],
)
def test_on_list__refuses_another_number_of_views(transform, message):
    with pytest.raises(ConfigError, match=message):
        transform([torch.zeros(1), torch.zeros(1)])


def test_on_list__says_what_to_use_for_a_single_clip():
    with pytest.raises(ConfigError, match=r"was given a Tensor and not a list of views.*without 'List' in its name"):
        ApplyTransformOnList(abs)(torch.zeros(2))
