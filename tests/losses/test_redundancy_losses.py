"""Barlow Twins, VICReg and W-MSE against their formulas, written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from eztorch.losses import barlow_twins_loss, vicreg_terms, wmse_loss
from eztorch.losses.wmse_loss import whitened
from eztorch.utils.errors import ConfigError


def features(*shape, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=draws, dtype=torch.float64) * 2 + 1).requires_grad_()


def test_barlow_twins_loss__equals_equation_1(slow):
    def reference(a, b):
        a, b = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in (a, b))
        total = 0.0
        for i in range(4):
            for j in range(4):
                c = sum(a[n, i] * b[n, j] for n in range(6)) / 6
                total = total + ((1 - c) ** 2 if i == j else 0.0051 * c**2)
        return total

    slow.agree(barlow_twins_loss, reference, features(6, 4), features(6, 4, seed=1))


def test_barlow_twins_loss__of_independent_equal_views_is_zero():
    z = torch.linalg.qr(torch.randn(64, 4, dtype=torch.float64) - 0)[0]
    z = torch.linalg.qr(z - z.mean(0))[0]
    assert float(barlow_twins_loss(100 * z, 100 * z)) < 1e-5


@pytest.mark.parametrize("views", [2, 3])
def test_vicreg_terms__equal_equations_1_to_5(slow, views):
    def reference(*zs):
        pairs = [(a, b) for i, a in enumerate(zs) for b in zs[i + 1 :]]
        invariance = sum(((a - b) ** 2).sum() / (6 * 4) for a, b in pairs) / len(pairs)
        variance = covariance = 0.0
        for z in zs:
            mean = z.sum(0) / 6
            c = sum(torch.outer(row - mean, row - mean) for row in z) / 5
            variance = variance + sum(torch.clamp(1 - torch.sqrt(c[j, j] + 1e-4), min=0) for j in range(4)) / 4
            covariance = covariance + sum(c[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
        return torch.stack([invariance, variance, covariance]) @ torch.tensor([3.0, 5.0, 7.0], dtype=torch.float64)

    def loss(*zs):
        terms = vicreg_terms(zs)
        return 3 * terms.invariance + 5 * terms.variance + 7 * terms.covariance

    slow.agree(loss, reference, *((0.3 * features(6, 4, seed=s)).detach().requires_grad_() for s in range(views)))


def test_whitened__has_no_mean_and_no_covariance():
    white = whitened(features(30, 5))
    torch.testing.assert_close(white.mean(0), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(white.T @ white / 29, torch.eye(5, dtype=torch.float64))


@pytest.mark.parametrize("size", [None, 6, 5])
def test_wmse_loss__equals_equation_6(slow, size):
    views = features(3, 12, 2)
    slices = {None: [slice(0, 12)], 6: [slice(0, 6), slice(6, 12)], 5: [slice(0, 5), slice(5, 12)]}[size]

    def reference(x):
        whites = []
        for view in x:
            parts = []
            for rows in slices:
                z = view[rows] - view[rows].mean(0)
                factor = torch.linalg.cholesky(z.T @ z / (len(z) - 1))
                parts.append((torch.linalg.inv(factor) @ z.T).T)
            whites.append(F.normalize(torch.cat(parts), dim=1))
        pairs = [(0, 1), (0, 2), (1, 2)]
        return sum(((whites[a] - whites[b]) ** 2).sum(1).mean() for a, b in pairs) / 3

    slow.agree(lambda x: wmse_loss(x, size=size), reference, views)


@pytest.mark.parametrize("loss", ["barlow", "vicreg", "w-mse"])
def test_under_autocast__is_float32(loss):
    a, b = (features(8, 3, seed=s).detach().bfloat16() for s in range(2))
    calls = {
        "barlow": lambda a, b: barlow_twins_loss(a, b),
        "vicreg": lambda a, b: sum(vicreg_terms([a, b])),
        "w-mse": lambda a, b: wmse_loss(torch.stack([a, b])),
    }
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = calls[loss](a, b)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, calls[loss](a.float(), b.float()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: barlow_twins_loss(torch.ones(4, 2), torch.ones(4, 2), lambd=-1), "lambd=-1"),
        (lambda: barlow_twins_loss(torch.ones(1, 2), torch.ones(1, 2)), "two samples"),
        (lambda: vicreg_terms([torch.ones(4, 2)]), "two views"),
        (lambda: wmse_loss(torch.ones(1, 4, 2)), "two views"),
        (lambda: wmse_loss(torch.ones(2, 4, 4)), "more samples than that, not 4"),
    ],
)
def test_names_what_cannot_be_used(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
