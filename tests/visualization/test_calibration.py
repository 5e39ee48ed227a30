import numpy as np
import pytest
import torch

from eztorch.evaluation.metrics import expected_calibration_error, reliability_bins
from eztorch.utils.errors import ConfigError
from eztorch.visualization.calibration import reliability_figure
from eztorch.visualization.canvas import png


def samples(number=500):
    """Probabilities of two classes, and labels that are told rightly less often than they say."""
    rng = np.random.default_rng(3)
    confidence = 0.5 + rng.beta(4, 1, number) / 2
    scores = torch.from_numpy(np.stack([confidence, 1 - confidence], axis=1))
    return scores, torch.from_numpy((rng.random(number) >= confidence**2).astype(np.int64))


@pytest.mark.parametrize("dark", [False, True])
def test_reliability_figure__says_the_error_and_draws_each_bin(dark, written):
    scores, labels = samples()
    found = reliability_bins(scores, labels, bins=10)
    figure = reliability_figure(found, dark=dark)
    lines = written(figure)
    assert lines[0] == f"Reliability: ECE {float(expected_calibration_error(found)):.1%}"
    right = float((labels == 0).double().mean())
    assert lines[1] == f"mean confidence {scores[:, 0].mean():.1%}, accuracy {right:.1%}, 500 samples, 10 bins"
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    np.testing.assert_allclose(bars, found.accuracy[found.counts > 0])
    shares = [patch.get_height() for patch in figure.axes[1].patches]
    np.testing.assert_allclose(shares, found.counts / 500)
    assert png(figure) == png(reliability_figure(found, dark=dark))


def test_reliability_figure__refuses_to_draw_nothing():
    with pytest.raises(ConfigError, match="needs a sample"):
        reliability_figure(reliability_bins(torch.tensor([[0.9, 0.1]]), torch.tensor([-1])))
