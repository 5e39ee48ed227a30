from __future__ import annotations

import pytest
import torch
from torch import nn

from eztorch.transforms.video import Div255, Normalize
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (6, 3, 2, 4, 5)])
def test_normalize__subtracts_the_mean_and_divides_by_the_deviation(shape):
    clip = torch.rand(shape)
    given, mean, std = clip.clone(), [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    result = Normalize(mean, std)(clip)
    for channel in range(3):
        expected = (given.select(-4, channel) - mean[channel]) / std[channel]
        torch.testing.assert_close(result.select(-4, channel), expected)
    assert torch.equal(clip, given)
    assert Normalize(mean, std, inplace=True)(clip) is clip


def test_normalize__moves_with_a_model_and_leaves_nothing_in_its_checkpoint():
    model = nn.Sequential(Normalize([0.5], [0.5])).to(torch.float64)
    assert model[0].mean.dtype == torch.float64
    assert model.state_dict() == {}


def test_normalize__refuses_bytes_and_deviations_of_zero():
    with pytest.raises(
        ConfigError, match=r"Normalize needs a floating clip and was given torch.uint8; put Div255 before"
    ):
        Normalize([0.5], [0.5])(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ConfigError, match=r"expected a mean and a deviation for every channel"):
        Normalize([0.5, 0.5], [0.5])
    with pytest.raises(ConfigError, match=r"expected a mean and a deviation"):
        Normalize([0.5], [0.0])


def test_div_255__gives_floats():
    torch.testing.assert_close(Div255()(torch.tensor([255], dtype=torch.uint8)), torch.tensor([1.0]))
