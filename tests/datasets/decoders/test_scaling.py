"""Pictures that the decoder gives at a smaller size."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch

from eztorch.datasets.decoders import build_decoder
from eztorch.datasets.decoders.scaling import scale_short_side, short_side_size
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((48, 64), 24, (24, 32)), ((64, 48), 24, (32, 24)), ((48, 65), 24, (24, 32)), ((48, 48), 7, (7, 7))],
)
def test_size__keeps_the_shape_and_rounds_down(size, short_side, expected):
    assert short_side_size(*size, short_side) == expected


def box_filter(frames: np.ndarray) -> np.ndarray:
    """Halve frames (T, H, W, C) by means of 2 x 2 pixels."""
    t, h, w, c = frames.shape
    return frames.reshape(t, h // 2, 2, w // 2, 2, c).mean((2, 4))


def test_short_side__gives_small_pictures_of_the_same_frames(encoded, media, truth):
    with build_decoder(encoded, {"short_side": 24}).open(str(media("soft.mp4"))) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(2))
    assert clip.video.shape == (3, 60, 24, 32)
    assert clip.video.dtype == torch.uint8
    assert clip.indices.tolist() == list(range(60))
    difference = np.abs(clip.video.permute(1, 2, 3, 0).numpy() - box_filter(truth("soft.mp4")))
    assert difference.mean() < 2
    assert difference.max() < 20


def test_short_side__of_picture_files(media, truth):
    with build_decoder("frame", {"short_side": 24}).open(str(media("frames"))) as reader:
        (clip,) = reader.get_frames([[7]])
    expected = scale_short_side(torch.from_numpy(truth("frames")[7]).permute(2, 0, 1), 24)
    assert torch.equal(clip.video[:, 0], expected)


def test_short_side__of_the_pictures_themselves_changes_nothing(name, video, frames):
    with build_decoder(name, {"short_side": 48}).open(video) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(1, 2))
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), frames[:15])


def test_short_side__of_a_turned_video_is_that_of_what_is_shown(media):
    with build_decoder("pyav", {"short_side": 24}).open(str(media("rotated.mp4"))) as reader:
        assert reader.get_clip(Fraction(0), Fraction(1, 2)).video.shape[-2:] == (32, 24)


def test_short_side__comes_before_the_transform(name, video):
    seen = []
    args = {"short_side": 24, "transform": lambda frame: seen.append(tuple(frame.shape)) or frame}
    with build_decoder(name, args).open(video) as reader:
        reader.get_clip(Fraction(0), Fraction(1, 10))
    assert seen == [(3, 24, 32)] * 3


@pytest.mark.parametrize("short_side", [0, -3, 2.5, "small", True])
def test_short_side__must_be_pixels(name, short_side):
    with pytest.raises(ConfigError, match=re.escape(f"short_side={short_side!r} must be a positive number")):
        build_decoder(name, {"short_side": short_side})
