from __future__ import annotations

import pytest
import torch

from eztorch.losses.mae_loss import mae_loss, patchify, random_visible
from eztorch.utils.errors import ConfigError


def test_patchify__has_the_pixels_of_every_patch_in_order():
    x = torch.randn(2, 3, 4, 6, 8)
    patches = patchify(x, (2, 3, 4))
    assert patches.shape == (2, 8, 2 * 3 * 4 * 3)
    number = 0
    for t in range(2):
        for h in range(2):
            for w in range(2):
                cube = x[:, :, 2 * t : 2 * t + 2, 3 * h : 3 * h + 3, 4 * w : 4 * w + 4]
                torch.testing.assert_close(patches[:, number], cube.permute(0, 2, 3, 4, 1).flatten(1))
                number += 1


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.75, 0.9, 0.99])
def test_random_visible__splits_the_patches_and_rounds_down(ratio):
    torch.manual_seed(0)
    visible, hidden = random_visible(5, (7, 7), ratio)
    assert visible.shape[1] == max(int(49 * (1 - ratio) + 1e-9), 1)
    together = torch.cat([visible, hidden], dim=1).sort(dim=1).values
    assert torch.equal(together, torch.arange(49).expand(5, -1))
    assert len({tuple(row) for row in visible.tolist()}) > (0 if ratio == 0 else 1)  # each sample its own


def test_random_visible__every_patch_is_equally_likely():
    visible, _ = random_visible(20000, (2, 4), 0.75)
    shares = torch.bincount(visible.flatten(), minlength=8) / 20000
    torch.testing.assert_close(shares, torch.full((8,), 0.25), rtol=0, atol=0.02)


def test_random_visible__tubes_hide_the_same_places_at_all_times():
    visible, hidden = random_visible(3, (4, 5, 5), 0.9, tube=True)
    assert visible.shape == (3, 8)
    assert hidden.shape == (3, 92)
    assert torch.equal(visible.view(3, 4, 2) - 25 * torch.arange(4)[:, None], visible[:, None, :2].expand(-1, 4, -1))


@pytest.mark.parametrize("ratio", [1.0, -0.1])
def test_random_visible__names_a_ratio_out_of_range(ratio):
    with pytest.raises(ConfigError, match=f"mask_ratio={ratio}"):
        random_visible(1, (2, 2), ratio)


@pytest.mark.parametrize("normalise", [True, False])
def test_mae_loss__equals_the_papers_words(normalise):
    prediction = torch.randn(2, 3, 12, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 3, 12, dtype=torch.float64) * 5 + 2
    expected = 0.0
    for b in range(2):
        for m in range(3):
            pixels = target[b, m]
            if normalise:
                mean = pixels.sum() / 12
                pixels = (pixels - mean) / (((pixels - mean) ** 2).sum() / 11 + 1e-6) ** 0.5
            expected = expected + ((prediction[b, m] - pixels) ** 2).sum() / 12
    loss = mae_loss(prediction, target, normalise=normalise)
    torch.testing.assert_close(loss, expected / 6)
    gradient, reference = (torch.autograd.grad(value, prediction)[0] for value in (loss, expected / 6))
    torch.testing.assert_close(gradient, reference)


def test_mae_loss__is_float32_under_autocast():
    prediction, target = torch.randn(2, 3, 12).bfloat16(), torch.randn(2, 3, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = mae_loss(prediction, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, mae_loss(prediction.float(), target))
