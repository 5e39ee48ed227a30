from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import interpolate

from eztorch.transforms.video import (
    RandomResizedCrop,
    RandomShortSideScale,
    ShortSideScale,
    UniformCropVideo,
    random_box,
    resize,
    uniform_crop,
)
from eztorch.utils.errors import ConfigError

SCALE, RATIO = (0.2, 0.766), (0.75, 1.3333)


def decoded(frames: int = 4, height: int = 48, width: int = 64) -> torch.Tensor:
    """A clip (C, T, H, W) in the memory that decoders write, channels last."""
    torch.manual_seed(0)
    return torch.randint(256, (frames, height, width, 3), dtype=torch.uint8).permute(3, 0, 1, 2)


def coordinates(height: int, width: int, frames: int = 2) -> torch.Tensor:
    """A clip whose channels hold row, column and frame."""
    rows, columns, times = torch.arange(height), torch.arange(width), torch.arange(frames)
    grid = torch.meshgrid(times, rows, columns, indexing="ij")
    return torch.stack([grid[1], grid[2], grid[0]]).float()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(20, 30), (70, 90), (48, 20)])
def test_resize__of_floats_is_interpolation_without_antialiasing(interpolation, size):
    clip = decoded().float()
    align = None if interpolation == "nearest" else False
    expected = interpolate(clip.contiguous(), size=size, mode=interpolation, align_corners=align)
    torch.testing.assert_close(resize(clip, *size, interpolation), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(20, 30), (70, 90)])
def test_resize__of_bytes_stays_within_one_of_floats(interpolation, size, contiguous):
    clip = decoded().contiguous() if contiguous else decoded()
    result = resize(clip, *size, interpolation)
    assert result.dtype == torch.uint8
    expected = resize(clip.float(), *size, interpolation).clamp(0, 255)
    assert (result.float() - expected).abs().max() < 1.01


def test_resize__to_the_same_size_changes_nothing():
    clip = decoded()
    assert resize(clip, 48, 64) is clip


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (240, 320, 120, (120, 160)),
        (320, 240, 120, (160, 120)),
        (256, 340, 256, (256, 340)),
        (7, 5, 3, (4, 3)),
        (3, 10, 7, (7, 23)),
    ],
)
def test_short_side_scale__rounds_the_longer_side_down(height, width, size, expected):
    assert ShortSideScale(size)(torch.zeros(3, 2, height, width)).shape[-2:] == expected


def test_random_short_side_scale__draws_both_ends():
    sizes = {RandomShortSideScale(4, 6)(torch.zeros(3, 1, 8, 10)).shape[-2] for _ in range(60)}
    assert sizes == {4, 5, 6}


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [(4, 9, [(0, 0), (0, 3), (0, 5)]), (9, 4, [(0, 0), (3, 0), (5, 0)]), (6, 6, [(1, 0), (1, 1), (1, 2)])],
)
def test_uniform_crop__goes_along_the_longer_side(height, width, corners):
    for position, corner in enumerate(corners):
        crop = uniform_crop(coordinates(height, width), 4, position)
        assert crop.shape == (3, 2, 4, 4)
        assert tuple(crop[:2, 0, 0, 0].int().tolist()) == corner


def test_uniform_crop_video__takes_the_crop_of_the_augmentation():
    sample = {"input": coordinates(4, 9), "aug_index": 2, "idx": 5}
    result = UniformCropVideo(4, video_key="input")(sample)
    assert result["input"][1, 0, 0, 0] == 5
    assert (result["idx"], sample["input"].shape[-1]) == (5, 9)


@pytest.mark.parametrize(
    ("clip", "position", "message"),
    [
        (
            torch.zeros(3, 1, 8, 8),
            3,
            "position of a crop is 3; expected 0, 1, 2 for the crops ll, cc, rr, so at most 3 augs_per_clip",
        ),
        (torch.zeros(3, 1, 3, 8), 1, "A crop of 4 x 4 does not fit in frames of 3 x 8"),
    ],
)
def test_uniform_crop__refuses_what_cannot_be(clip, position, message):
    with pytest.raises(ConfigError, match=message):
        uniform_crop(clip, 4, position)


def boxes(number: int, height: int = 100, width: int = 160, **arguments):
    torch.manual_seed(0)
    return [random_box(height, width, **({"scale": SCALE, "aspect_ratio": RATIO} | arguments)) for _ in range(number)]


def test_random_box__stays_inside_and_keeps_its_ranges():
    for top, left, height, width in boxes(2000):
        assert 0 <= top <= 100 - height
        assert 0 <= left <= 160 - width
        assert 0.19 < height * width / 16000 < 0.78
        assert 0.72 < width / height < 1.38


def test_random_box__draws_the_logarithm_of_the_ratio_evenly():
    small = {"scale": (0.05, 0.1), "aspect_ratio": (0.25, 4.0)}
    for log_uniform, middle in ((True, 1.0), (False, 2.125)):
        ratios = torch.tensor([w / h for _, _, h, w in boxes(2000, 400, 400, log_uniform_ratio=log_uniform, **small)])
        assert ratios.median().item() == pytest.approx(middle, rel=0.08)


def test_random_box__has_the_ratio_of_the_frame_without_a_range():
    assert all(abs(w / h - 1.6) < 0.05 for _, _, h, w in boxes(50, aspect_ratio=None))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(100, 400, (0, 133, 100, 133)), (400, 100, (133, 0, 133, 100)), (100, 100, (0, 0, 100, 100))],
)
def test_random_box__falls_back_to_the_centre(height, width, expected):
    # No box of the whole area fits, but for the ratio of the frame itself, which is hardly drawn.
    box = boxes(1, height, width, scale=(1.0, 1.0), aspect_ratio=(0.75, 1.3333), num_tries=1)[0]
    if (height, width) == (100, 100):
        assert box[2] <= 100
    else:
        top, left, box_height, box_width = box
        assert (top, left, box_height, box_width) == pytest.approx(expected, abs=1)


def test_random_resized_crop__cuts_before_it_scales():
    clip = coordinates(50, 80)
    torch.manual_seed(3)
    result = RandomResizedCrop(12, 10, SCALE, RATIO)(clip)
    torch.manual_seed(3)
    top, left, height, width = random_box(50, 80, scale=SCALE, aspect_ratio=RATIO)
    expected = interpolate(clip[..., top : top + height, left : left + width], size=(12, 10), mode="bilinear")
    torch.testing.assert_close(result, expected)


def test_random_resized_crop__of_bytes_follows_that_of_floats():
    transform = RandomResizedCrop(20, 30, SCALE, RATIO)
    results = []
    for clip in (decoded(), decoded().float()):
        torch.manual_seed(5)
        results.append(transform(clip))
    assert results[0].dtype == torch.uint8
    assert (results[0].float() - results[1]).abs().max() < 1.01


def test_random_resized_crop__with_shift_moves_from_one_box_to_another():
    clip = coordinates(60, 90, frames=5)
    torch.manual_seed(4)
    result = RandomResizedCrop(8, 8, SCALE, RATIO, shift=True)(clip)
    torch.manual_seed(4)
    first, last = (random_box(60, 90, scale=SCALE, aspect_ratio=RATIO) for _ in range(2))
    for t in range(5):
        top, left, height, width = (math.floor(a + (b - a) * t / 4 + 1e-9) for a, b in zip(first, last, strict=True))
        cut = clip[:, t : t + 1, top : top + height, left : left + width]
        torch.testing.assert_close(result[:, t : t + 1], interpolate(cut, size=(8, 8), mode="bilinear"))
    assert first != last
    assert RandomResizedCrop(8, 8, SCALE, RATIO, shift=True)(clip[:, :1]).shape == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": (0.5, 0.2)}, r"scale=\[0.5, 0.2\]; expected two positive rising numbers, at most 1"),
        ({"scale": (0.5, 1.2)}, "scale="),
        ({"scale": (0.5,)}, "scale="),
        ({"aspect_ratio": (0, 1)}, r"aspect_ratio=\[0, 1\]; expected two positive rising numbers\."),
        ({"interpolation": "billinear"}, "interpolation='billinear' is not known.*Did you mean 'bilinear'"),
        ({"target_width": 0}, "target_width=0"),
        ({"num_tries": 0}, "num_tries=0"),
    ],
)
def test_random_resized_crop__refuses_arguments_by_name(arguments, message):
    usual = {"target_height": 8, "target_width": 8, "scale": SCALE, "aspect_ratio": RATIO}
    with pytest.raises(ConfigError, match=message):
        RandomResizedCrop(**(usual | arguments))


def test_random_short_side_scale__refuses_a_falling_range():
    with pytest.raises(ConfigError, match=r"min_size=8, max_size=4; expected a whole number of at least 8"):
        RandomShortSideScale(8, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(3, 4, 4), r"expects a tensor \(C, T, H, W\) and was given \(3, 4, 4\)"),
        ([torch.zeros(3, 1, 4, 4)], "was given a list. Use OnlyInputListTransform for samples of several views"),
    ],
)
def test_spatial__says_what_is_no_clip(given, message):
    with pytest.raises(ConfigError, match=message):
        ShortSideScale(4)(given)
