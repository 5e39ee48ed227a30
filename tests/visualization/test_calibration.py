import numpy as np
import pytest

from eztorch.utils.errors import ConfigError
from eztorch.visualization.calibration import calibrate, reliability_figure
from eztorch.visualization.canvas import png


def samples(number=500):
    rng = np.random.default_rng(3)
    confidence = rng.beta(4, 1, number)
    return confidence, rng.random(number) < confidence**2


def slow_error(confidence, correct, bins):
    """Equation 3 of arXiv 1706.04599, sample by sample."""
    error = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, value in enumerate(confidence) if (m - 1) / bins < value <= m / bins]
        if inside:
            gap = np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            error += len(inside) / len(confidence) * abs(gap)
    return error


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibrate__equals_the_sum_over_samples(bins):
    confidence, correct = samples()
    found = calibrate(confidence, correct, bins=bins)
    assert found.error == pytest.approx(slow_error(confidence, correct, bins))
    assert found.counts.sum() == 500
    known = found.counts > 0
    assert np.isnan(found.accuracy[~known]).all()
    assert ((found.edges[:-1] <= found.confidence) & (found.confidence <= found.edges[1:]))[known].all()


def test_calibrate__a_confidence_on_an_edge_belongs_to_the_bin_below_and_none_is_lost():
    assert calibrate([0.0, 0.5, 1.0, 1 + 1e-7], [True] * 4, bins=2).counts.tolist() == [2, 2]


def test_calibrate__is_0_of_one_who_knows_what_he_knows():
    assert calibrate([0.75] * 4, [True, True, True, False]).error == pytest.approx(0)


@pytest.mark.parametrize("confidence", [[], [1.2], [-0.1], [np.nan]])
def test_calibrate__refuses_what_is_no_probability(confidence):
    with pytest.raises(ConfigError, match="a probability from 0 to 1 of every sample"):
        calibrate(confidence, [True] * len(confidence))


@pytest.mark.parametrize("dark", [False, True])
def test_reliability_figure__says_the_error_and_draws_each_bin(dark, written):
    confidence, correct = samples()
    figure = reliability_figure(confidence, correct, bins=10, dark=dark)
    found = calibrate(confidence, correct, bins=10)
    assert written(figure)[0] == f"Reliability: ECE {found.error:.1%}"
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    np.testing.assert_allclose(bars, found.accuracy[found.counts > 0])
    shares = [patch.get_height() for patch in figure.axes[1].patches]
    np.testing.assert_allclose(shares, found.counts / 500)
    assert png(figure) == png(reliability_figure(confidence, correct, bins=10, dark=dark))
