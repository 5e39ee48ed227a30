"""Corruptions: what they do, that they repeat, and that severity 0 does nothing."""

import colorsys
import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from eztorch.transforms.corruptions import CORRUPTIONS, corrupt
from eztorch.utils.errors import ConfigError

NAMES = tuple(CORRUPTIONS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clip():
    """Noise, uint8, (3, 10, 24, 32)."""
    return torch.randint(256, (3, 10, 24, 32), generator=generator(), dtype=torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_corrupt__repeats_bit_for_bit_and_leaves_its_input(clip, name):
    before = clip.clone()
    for severity in range(1, 6):
        found = corrupt(clip, name, severity, generator(1))
        assert torch.equal(found, corrupt(clip, name, severity, generator(1)))
        assert (found.dtype, found.shape) == (torch.uint8, clip.shape)
        assert not torch.equal(found, clip)
    assert torch.equal(clip, before)


@pytest.mark.parametrize("name", NAMES)
def test_corrupt__of_severity_0_is_the_sample_itself(clip, name):
    assert torch.equal(corrupt(clip, name, 0, generator()), clip)


@pytest.mark.parametrize("name", NAMES)
def test_corrupt__changes_more_with_every_severity(name):
    smooth = torch.linspace(40, 200, 32).expand(3, 20, 24, 32) + 2 * torch.arange(20)[:, None, None]
    smooth = (smooth + 20 * torch.rand(3, 1, 24, 32, generator=generator())).to(torch.uint8)
    found = [corrupt(smooth, name, severity, generator(1)) for severity in range(6)]
    errors = [(one.float() - smooth).abs().mean().item() for one in found]
    assert errors == sorted(errors)
    assert len(set(errors)) == 6


def test_noise__has_the_deviation_of_its_severity():
    grey = torch.full((3, 8, 40, 40), 128, dtype=torch.uint8)
    found = corrupt(grey, "gaussian_noise", 1, generator()).float() / 255
    assert found.std().item() == pytest.approx(0.08, rel=0.02)
    assert found.mean().item() == pytest.approx(128 / 255, abs=0.002)
    assert found[0, 0].std() > 0
    assert not torch.equal(found[:, 0], found[:, 1])


def test_blur__equals_scipy_with_reflected_borders():
    clip = torch.randint(256, (1, 1, 40, 48), generator=generator(), dtype=torch.uint8)
    expected = gaussian_filter(clip[0, 0].numpy() / 255, 2, mode="mirror", truncate=4) * 255
    found = corrupt(clip, "gaussian_blur", 2, generator())[0, 0].float()
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=0.51, rtol=0)


def test_jpeg__is_that_of_each_frame(clip):
    found = corrupt(clip, "jpeg", 3, generator())
    for t in (0, 9):
        file = io.BytesIO()
        Image.fromarray(clip[:, t].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=15)
        assert np.array_equal(found[:, t].permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))


def test_brightness__is_added_to_the_value(clip):
    clip[:, 0, 0, 0] = 0
    found = corrupt(clip, "brightness", 2, generator())
    for row, column in ((0, 0), (0, 1), (3, 7), (23, 31)):
        pixel = [value / 255 for value in clip[:, 0, row, column].tolist()]
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = [255 * one for one in colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))]
        assert found[:, 0, row, column].tolist() == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize(("severity", "lost"), [(1, 1), (2, 2), (3, 3), (4, 5), (5, 7)])
def test_frame_drop__shows_the_last_frame_that_is_there(severity, lost):
    numbers = torch.arange(10, dtype=torch.uint8).view(1, 10, 1, 1)
    for seed in range(20):
        found = corrupt(numbers, "frame_drop", severity, generator(seed)).flatten().tolist()
        assert len(set(found)) == 10 - lost
        assert found[0] == 0
        assert all(one in (before, place) for place, (before, one) in enumerate(pairwise(found), 1))


@pytest.mark.parametrize(("severity", "hidden"), [(1, 1), (3, 3), (5, 7)])
def test_freeze__shows_one_frame_and_then_goes_on(severity, hidden):
    numbers = torch.arange(10, dtype=torch.uint8).view(1, 10, 1, 1)
    starts = set()
    for seed in range(40):
        found = corrupt(numbers, "freeze", severity, generator(seed)).flatten().tolist()
        frozen = max(set(found), key=found.count)
        starts.add(frozen)
        assert found.count(frozen) == hidden + 1
        assert found == [frozen if frozen <= t <= frozen + hidden else t for t in range(10)]
    assert starts == set(range(10 - hidden))


def test_time__of_a_single_frame_stays_as_it_is():
    frame = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    for name in ("frame_drop", "freeze"):
        assert torch.equal(corrupt(frame, name, 5, generator()), frame)


def test_images__are_corrupted_as_clips_of_one_frame(clip):
    for name in ("gaussian_blur", "jpeg", "brightness"):
        image = corrupt(clip[:, 0], name, 1, generator())
        assert torch.equal(image, corrupt(clip[:, :1], name, 1, generator())[:, 0])


@pytest.mark.parametrize(
    ("sample", "name", "severity", "message"),
    [
        (torch.zeros(3, 2, 4, 4), "jpeg", 1, r"jpeg corrupts bytes.* was given torch.float32 .* model.test_transform"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "freeze", 0, r"freeze is about the frames of a clip"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "jpeg", 1, r"jpeg takes frames of 1 or 3 channels, not of 2"),
        (
            torch.zeros(3, 1, 4, 4, dtype=torch.uint8),
            "jpg",
            1,
            r"corruption='jpg' is not known.* Did you mean 'jpeg'\?",
        ),
        (
            torch.zeros(3, 1, 4, 4, dtype=torch.uint8),
            "jpeg",
            6,
            r"severity=6; expected a whole number from 0 \(none\) to 5",
        ),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), "jpeg", 2.0, r"severity=2.0; expected a whole number"),
    ],
)
def test_corrupt__says_what_cannot_be(sample, name, severity, message):
    with pytest.raises(ConfigError, match=message):
        corrupt(sample, name, severity, generator())
