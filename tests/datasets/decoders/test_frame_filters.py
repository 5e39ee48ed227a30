import numpy as np
import pytest
import torch

from eztorch.datasets.decoders import RandomSubsample, UniformSubsample, build_frame_filter
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("num_samples", [1, 2, 8, 16, 32])
def test_uniform__is_the_floor_of_a_linspace(num_samples):
    for num_frames in range(1, 200):
        kept = UniformSubsample(num_samples)(num_frames)
        assert kept.dtype == torch.int64
        assert kept.tolist() == np.linspace(0, num_frames - 1, num_samples).astype(int).tolist()


def test_uniform__is_exact_where_a_linspace_of_floats_is_not():
    assert UniformSubsample(99)(3)[49] == 1  # 49 * 2 / 98; as floats 0.9999999999999999
    assert np.linspace(0, 2, 99).astype(int)[49] == 0


def test_random__draws_without_replacement_and_in_order():
    generator = torch.Generator().manual_seed(0)
    draws = [RandomSubsample(4)(9, generator).tolist() for _ in range(300)]
    assert all(kept == sorted(set(kept)) and len(kept) == 4 for kept in draws)
    counts = np.bincount(np.concatenate(draws), minlength=9)
    assert counts.min() > 90  # 133 expected, standard deviation 9


def test_random__of_as_many_frames_as_there_are_keeps_all():
    assert RandomSubsample(5)(5).tolist() == [0, 1, 2, 3, 4]


def test_random__repeats_when_there_are_too_few():
    kept = RandomSubsample(50)(3, torch.Generator().manual_seed(0)).tolist()
    assert kept == sorted(kept)
    assert len(kept) == 50
    assert set(kept) == {0, 1, 2}


def test_random__takes_the_global_generator_when_none_is_given():
    torch.manual_seed(0)
    first = RandomSubsample(4)(100)
    torch.manual_seed(0)
    assert torch.equal(first, RandomSubsample(4)(100))


def test_build__takes_specs_callables_and_none():
    assert build_frame_filter(None) is None
    assert build_frame_filter({"subsample_type": "random", "num_samples": 3}) == RandomSubsample(3)
    assert build_frame_filter(UniformSubsample(2)) == UniformSubsample(2)
    spec = {"_target_": "eztorch.datasets.decoders.UniformSubsample", "num_samples": 4}
    assert build_frame_filter(spec) == UniformSubsample(4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"subsample_type": "unifrom", "num_samples": 8}, "Did you mean 'uniform'"),
        ({"subsample_type": "uniform", "num_sample": 8}, "unknown key 'num_sample'. Did you mean 'num_samples'"),
        ({"subsample_type": "uniform"}, "lacks num_samples"),
        ({"subsample_type": "uniform", "num_samples": 0}, "num_samples=0; expected a whole number of at least 1"),
        ({"subsample_type": "uniform", "num_samples": 2.5}, "num_samples=2.5; expected a whole number of at least 1"),
        (8, "frame_filter=8 is neither"),
    ],
)
def test_build__says_what_is_wrong(spec, message):
    with pytest.raises(ConfigError, match=message):
        build_frame_filter(spec)
