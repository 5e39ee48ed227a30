from __future__ import annotations

import pytest
import torch
import torchaug.batch_transforms.functional as torchaug
from torchvision.transforms.v2 import functional as F

from eztorch.transforms.batch import GaussianBlur
from eztorch.transforms.batch.blur import blur_matrices, gaussian_blur_
from eztorch.transforms.batch.separable import separable
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize(("height", "width"), [(12, 15), (64, 130)])
@pytest.mark.parametrize("kernel_size", [(1, 3), (23, 23), (5, 9)])
def test_blur__is_torchvisions_and_torchaugs_in_bands_and_as_one_product(kernel_size, height, width):
    clips, sigma = torch.rand(4, 3, 2, height, width), torch.tensor([0.1, 0.5, 1.1, 2.0])
    expected = torch.stack(
        [
            F.gaussian_blur(clip.transpose(0, 1), list(kernel_size)[::-1], [s.item()] * 2).transpose(0, 1)
            for clip, s in zip(clips, sigma, strict=True)
        ]
    )
    rows, columns = (
        blur_matrices(sigma, side, kernel // 2) for side, kernel in zip((height, width), kernel_size, strict=True)
    )
    torch.testing.assert_close(separable(clips, rows, columns), expected, rtol=0, atol=2e-6)
    if kernel_size[0] == kernel_size[1]:  # torchaug fails for others
        frames_first = clips.transpose(1, 2).contiguous()
        batched = torchaug.batch_gaussian_blur(frames_first, list(kernel_size), sigma[:, None].expand(-1, 2))
        torch.testing.assert_close(batched.transpose(1, 2), expected, rtol=0, atol=2e-6)
    gaussian_blur_(clips, sigma, kernel_size)
    torch.testing.assert_close(clips, expected, rtol=0, atol=2e-6)


def test_blur__takes_samples_that_are_not_contiguous():
    clips = torch.rand(2, 2, 3, 12, 12).transpose(1, 2)
    expected = clips.contiguous()
    gaussian_blur_(expected, torch.tensor([1.0, 2.0]), (3, 3))
    gaussian_blur_(clips, torch.tensor([1.0, 2.0]), (3, 3))
    assert torch.equal(clips, expected)


def test_blur_matrices__keep_the_mean_and_hold_no_denormal_numbers():
    matrices = blur_matrices(torch.linspace(0.1, 2, 20), 40, 11)
    torch.testing.assert_close(matrices.sum(dim=-1), torch.ones(20, 40))
    assert matrices[matrices > 0].min() > 1e-10


def test_gaussian_blur__draws_a_deviation_for_every_sample_and_blurs_the_share_that_is_asked_for(clips):
    same = clips[:1].expand(8, -1, -1, -1, -1)
    blurred = GaussianBlur(5, sigma=(0.5, 2.0), p=0.5)(same)
    roughness = (blurred[..., 1:] - blurred[..., :-1]).abs().mean(dim=(1, 2, 3, 4))
    assert len(set(roughness.tolist())) == 5  # four of them, and what is not blurred
    assert (blurred != same).flatten(1).any(dim=1).sum() == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBlur(4), "kernel_size=4; expected an odd number"),
        (lambda: GaussianBlur([3, 5, 7]), r"kernel_size=\[3, 5, 7\]"),
        (lambda: GaussianBlur(3, sigma=(2.0, 0.1)), "sigma=.*rising"),
        (lambda: GaussianBlur(3, sigma=0), "sigma=.*positive"),
        (lambda: GaussianBlur(23)(torch.zeros(1, 3, 11, 40)), r"too wide for frames of \(11, 40\)"),
    ],
)
def test_gaussian_blur__refuses_what_it_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
