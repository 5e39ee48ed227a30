"""NT-Xent and DCL against their sums, written out."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from eztorch.losses import dcl_loss, simclr_loss
from eztorch.utils.errors import ConfigError


def reference(z, temp, *, decoupled=False, sigma=None, anchors=None):
    """Every anchor of `anchors` (samples) against every row of z, one number at a time."""
    views, samples, _ = z.shape
    terms = []
    for v in range(views):
        for i in anchors or range(samples):
            rows = [(w, j) for w in range(views) for j in range(samples)]
            below = [(w, j) for w, j in rows if (j != i if decoupled else (w, j) != (v, i))]
            total = sum(torch.exp(z[v, i] @ z[w, j] / temp) for w, j in below)
            for w in range(views):
                if w != v:
                    weight = 1.0
                    if sigma is not None:
                        agreement = [torch.exp(z[v, j] @ z[w, j] / sigma) for j in range(samples)]
                        weight = 2 - agreement[i] / (sum(agreement) / samples)
                    terms.append(torch.log(total) - weight * (z[v, i] @ z[w, i]) / temp)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("samples", [2, 5])
def test_simclr_loss__equals_the_papers_sum(slow, views, samples):
    z = slow.unit(views, samples, 7)
    slow.agree(lambda x: simclr_loss(x, temp=0.3), lambda x: reference(x, 0.3), z)


@pytest.mark.parametrize("sigma", [None, 0.5])
@pytest.mark.parametrize("views", [2, 3])
def test_dcl_loss__equals_the_papers_sum(slow, views, sigma):
    z = slow.unit(views, 4, 7)
    slow.agree(
        lambda x: dcl_loss(x, temp=0.3, sigma=sigma), lambda x: reference(x, 0.3, decoupled=True, sigma=sigma), z
    )


@pytest.mark.parametrize("loss", [simclr_loss, dcl_loss])
def test_of_a_part_of_the_batch__is_that_of_its_anchors(slow, loss):
    z = slow.unit(2, 6, 7)
    part = [2, 3]
    slow.agree(
        lambda x: loss(x[:, part], temp=0.3, everyone=x, offset=2),
        lambda x: reference(x, 0.3, decoupled=loss is dcl_loss, anchors=part),
        z,
    )


def test_dcl_loss__of_a_narrow_width_is_finite(slow):
    z = slow.unit(2, 4, 7)
    narrow = dcl_loss(z.float(), temp=0.3, sigma=0.005)
    torch.testing.assert_close(narrow.double(), reference(z, 0.3, decoupled=True, sigma=0.005), rtol=1e-4, atol=0)


def test_collapsed_features__give_the_logarithm_of_what_they_are_compared_with():
    same = torch.ones(2, 4, 1, dtype=torch.float64)
    assert float(simclr_loss(same, temp=0.1)) == pytest.approx(math.log(7))
    assert float(dcl_loss(same, temp=0.1)) == pytest.approx(math.log(6))


@pytest.mark.parametrize("loss", [simclr_loss, dcl_loss, partial(dcl_loss, sigma=0.5)])
def test_under_autocast__is_float32(slow, loss):
    z = slow.unit(2, 4, 7).detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(z, temp=0.05)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(z.float(), temp=0.05))


@pytest.mark.parametrize("loss", [simclr_loss, dcl_loss])
@pytest.mark.parametrize(
    ("shape", "keys", "message"),
    [
        ((2, 4, 3), {"temp": 0.0}, "temp=0.0"),
        ((1, 4, 3), {"temp": 0.1}, r"1 view\(s\)"),
        ((2, 1, 3), {"temp": 0.1}, r"1 sample\(s\)"),
    ],
)
def test_names_what_cannot_be_used(loss, shape, keys, message):
    with pytest.raises(ConfigError, match=message):
        loss(torch.ones(shape), **keys)


def test_dcl_loss__names_a_width_out_of_range():
    with pytest.raises(ConfigError, match="sigma=0"):
        dcl_loss(torch.ones(2, 2, 2), temp=0.1, sigma=0)
