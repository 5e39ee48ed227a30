from __future__ import annotations

from itertools import permutations

import pytest
import torch
import torchaug.batch_transforms.functional as torchaug
from torchvision.transforms.v2 import functional as F

from eztorch.transforms.batch import ColorJitter, RandomGrayscale, RandomSolarize, color
from eztorch.utils.errors import ConfigError

OPERATIONS = {
    "brightness": (color.adjust_brightness_, F.adjust_brightness, torchaug.batch_adjust_brightness, (0.0, 2.0), 0.0),
    "contrast": (color.adjust_contrast_, F.adjust_contrast, torchaug.batch_adjust_contrast, (0.0, 2.0), 2e-6),
    "saturation": (color.adjust_saturation_, F.adjust_saturation, torchaug.batch_adjust_saturation, (0.0, 2.0), 2e-6),
    "hue": (color.adjust_hue_, F.adjust_hue, torchaug.batch_adjust_hue, (-0.5, 0.5), 2e-6),
}


def per_frame(batch, function):
    """Apply a function of (sample, frame (C, H, W)) to every frame of a batch by itself."""
    if batch.ndim == 4:
        return torch.stack([function(i, image) for i, image in enumerate(batch)])
    clips = [torch.stack([function(i, frame) for frame in clip.unbind(1)], dim=1) for i, clip in enumerate(batch)]
    return torch.stack(clips)


@pytest.mark.parametrize("kind", ["clips", "images", "grey images"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations__are_torchvisions_and_torchaugs_frame_by_frame(name, kind, clips):
    ours, torchvision, batched, limits, tolerance = OPERATIONS[name]
    batch = {"clips": clips, "images": clips[:, :, 0], "grey images": clips[:, :1, 0]}[kind].clone()
    batch[0], batch[1, ..., 3] = 0.25, 1  # grey, and partly white
    factors = torch.linspace(*limits, 8)
    expected = per_frame(batch, lambda i, frame: torchvision(frame, factors[i].item()))
    frames_first = batch.transpose(1, 2) if kind == "clips" else batch
    other = batched(frames_first, factors)
    ours(batch, factors)
    torch.testing.assert_close(batch, expected, rtol=0, atol=max(tolerance, 2e-6))
    torch.testing.assert_close(batch, other.transpose(1, 2) if kind == "clips" else other, rtol=0, atol=tolerance)


def test_hue__goes_around_the_circle():
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
    batch = colours.T.reshape(1, 3, 1, 6).repeat(2, 1, 1, 1)
    color.adjust_hue_(batch, torch.tensor([1 / 3, -1 / 3]))
    red_to_green, red_to_blue = batch[:, :, 0, 0]
    torch.testing.assert_close(red_to_green, torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(red_to_blue, torch.tensor([0.0, 0, 1]), atol=1e-6, rtol=0)


def test_color_jitter__gives_each_sample_its_own_factors_and_its_frames_the_same():
    still = torch.rand(3, 1, 6, 6).expand(16, 3, 4, 6, 6)
    result = ColorJitter(0.8, 0.8, 0.4, 0.2)(still)
    assert torch.equal(result, result[:, :, :1].expand_as(result))
    assert len({sample.sum().item() for sample in result}) == 16


def test_color_jitter__tries_all_orders_and_nothing_else():
    batch = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    batch[..., 0] = 0.2
    given = {"brightness": 1.7, "contrast": 0.5, "saturation": 0.3, "hue": 0.2}
    expected = []
    for order in permutations(OPERATIONS):
        expected.append(batch.clone())
        for name in order:
            OPERATIONS[name][0](expected[-1], torch.tensor([given[name]]))
    jitter = ColorJitter(**{name: (value, value) for name, value in given.items()})
    results = jitter(batch.expand(600, -1, -1, -1))
    distances = (results[:, None] - torch.cat(expected)).abs().amax(dim=(2, 3, 4))
    assert distances.amin(dim=1).max() < 2e-6
    assert (distances < 2e-6).any(dim=0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_color_jitter__compiled_is_what_it_is_without(clips):
    given = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.4, "hue": 0.2, "p": 0.8}
    for batch in (clips, clips[:, :, 0]):
        torch.manual_seed(1)
        expected = ColorJitter(**given)(batch)
        torch.manual_seed(1)
        torch.testing.assert_close(ColorJitter(**given, compile=True)(batch), expected, rtol=0, atol=2e-6)


def test_color_jitter__changes_the_share_of_samples_that_is_asked_for():
    batch = torch.rand(10, 3, 4, 4)
    changed = (ColorJitter(brightness=0.5, p=0.3)(batch) != batch).flatten(1).any(dim=1)
    assert changed.sum() == 3
    assert ColorJitter()(batch).equal(batch)


@pytest.mark.parametrize("kind", ["clips", "images"])
def test_grayscale_and_solarize__are_torchvisions(kind, clips):
    batch = clips if kind == "clips" else clips[:, :, 0]
    grey = per_frame(batch, lambda _, frame: F.rgb_to_grayscale(frame, 3))
    torch.testing.assert_close(RandomGrayscale(p=1)(batch), grey, rtol=0, atol=2e-7)
    solarised = per_frame(batch, lambda _, frame: F.solarize(frame, 0.5))
    assert torch.equal(RandomSolarize(0.5, p=1)(batch), solarised)


def test_solarize__takes_half_of_the_samples(clips):
    changed = (RandomSolarize(0.3, p=0.5)(clips) != clips).flatten(1).any(dim=1)
    assert changed.sum() == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColorJitter(brightness=-0.1), "brightness=-0.1; expected a number of at least 0"),
        (lambda: ColorJitter(contrast=(1.2, 0.8)), r"contrast=\(1.2, 0.8\).*rising"),
        (lambda: ColorJitter(saturation=(1, 2, 3)), "saturation=.*the lowest and the highest"),
        (lambda: ColorJitter(hue=0.6), "hue=0.6; expected a number from 0 to 0.5"),
        (lambda: RandomSolarize(128), "threshold=128; .*128 of 255 is 0.5"),
        (lambda: RandomGrayscale(p=-1), "p=-1; expected a probability"),
        (lambda: RandomGrayscale()(torch.zeros(1, 2, 4, 4)), "RandomGrayscale expects 1 or 3 channels"),
        (lambda: ColorJitter(0.4)(torch.zeros(1, 5, 3, 4, 4)), "ColorJitter expects 1 or 3 channels"),
    ],
)
def test_color__refuses_what_it_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
