from __future__ import annotations

import pytest
import torch

from eztorch.transforms.video import (
    CHANNEL_SAMPLINGS,
    ChannelSampling,
    GreyST,
    ReverseChannels,
    ToGrey,
    grey,
)
from eztorch.utils.errors import ConfigError


def spelled(text: str) -> list[int]:
    """Numbers of channels that are written as frame and colour: 1R is 0, 2G is 4."""
    return [3 * (int(word[:-1]) - 1) + "RGB".index(word[-1]) for word in text.split()]


def numbered(num_frames: int, dtype=torch.float32) -> torch.Tensor:
    """A clip (3, T, 2, 2) whose values are the numbers of its channels, 1R 1G 1B 2R ..."""
    return torch.arange(3 * num_frames, dtype=dtype).view(num_frames, 3).T[..., None, None].repeat(1, 1, 2, 2)


TABLES = [
    ("TC", 8, "1R 2R 3R 2G 3G 4G 3B 4B 5B 4R 5R 6R 5G 6G 7G 6B 7B 8B 7R 8R 8R 8G 8G 8G"),
    ("TC", 9, "1R 2R 3R 2G 3G 4G 3B 4B 5B 4R 5R 6R 5G 6G 7G 6B 7B 8B 7R 8R 9R 8G 9G 9G 9B 9B 9B"),
    ("TC", 3, "1R 2R 3R 2G 3G 3G 3B 3B 3B"),
    ("TC+2", 10, "1R 2R 3R 2G 3G 4G 3B 4B 5B 4R 5R 6R 5G 6G 7G 6B 7B 8B 7R 8R 9R 8G 9G 10G"),
    ("TC+2", 3, "1R 2R 3R"),
    ("TCrgb", 4, "1R 2G 3B 2R 3G 4B 3R 4G 4B 4R 4G 4B"),
    ("TCred", 4, "1R 2R 3R 2R 3R 4R 3R 4R 4R 4R 4R 4R"),
    ("TCShortLong", 8, "1R 2R 3R 2G 3G 4G 3B 4B 5B 4R 5R 6R 5G 6G 7G 6B 7B 8B 3R 5R 7R 4G 6G 8G"),
]


@pytest.mark.parametrize(("kind", "num_frames", "expected"), TABLES)
def test_channel_sampling__takes_the_channels_of_its_table(kind, num_frames, expected):
    wanted = spelled(expected)
    assert CHANNEL_SAMPLINGS[kind](num_frames) == wanted
    for dtype in (torch.uint8, torch.float32):
        result = ChannelSampling(kind)(numbered(num_frames, dtype))
        assert result.dtype == dtype
        assert result.shape == (3, len(wanted) // 3, 2, 2)
        assert result[..., 0, 0].T.flatten().tolist() == wanted


@pytest.mark.parametrize("transform", [ChannelSampling("TC"), ToGrey(3), GreyST(), ReverseChannels()])
def test_channels__of_a_batch_are_those_of_its_clips(transform):
    batch = torch.rand(4, 3, 9, 5, 6)
    assert torch.equal(transform(batch), torch.stack([transform(clip) for clip in batch]))


def test_grey__has_weights_that_sum_to_one():
    clip = torch.zeros(3, 1, 1, 4)
    clip[0, 0, 0, 0] = clip[1, 0, 0, 1] = clip[2, 0, 0, 2] = 1
    clip[..., 3] = 1
    torch.testing.assert_close(grey(clip).flatten(), torch.tensor([0.299, 0.587, 0.114, 1.0]))
    white = torch.full((3, 2, 1, 1), 255, dtype=torch.uint8)
    assert grey(white).flatten().tolist() == [255, 255]
    assert grey(white).dtype == torch.uint8


@pytest.mark.parametrize("num_channels", [1, 3])
def test_to_grey__gives_equal_channels(num_channels):
    result = ToGrey(num_channels)(torch.rand(3, 4, 2, 2))
    assert result.shape == (num_channels, 4, 2, 2)
    assert torch.equal(result, result[:1].expand_as(result))


def test_grey_st__puts_three_frames_in_the_channels():
    clip = torch.rand(3, 6, 2, 2)
    result, expected = GreyST()(clip), grey(clip)[0]
    assert result.shape == (3, 2, 2, 2)
    for frame in range(2):
        for channel in range(3):
            assert torch.equal(result[channel, frame], expected[3 * frame + channel])


def test_reverse_channels__gives_bgr():
    assert ReverseChannels()(numbered(3))[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert torch.equal(ReverseChannels()(ReverseChannels()(numbered(3))), numbered(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChannelSampling("TC2"), "kind='TC2' is not known"),
        (lambda: ChannelSampling("TC")(numbered(2)), "at least 3 frames and was given 2"),
        (lambda: ChannelSampling("TCShortLong")(numbered(9)), "8 frames and was given 9"),
        (lambda: ChannelSampling("TC")(torch.zeros(1, 8, 2, 2)), r"a clip \(3, T, H, W\).*given \(1, 8, 2, 2\)"),
        (lambda: GreyST()(numbered(8)), "three frames for each of its own and was given 8"),
        (lambda: ToGrey(2), "num_channels=2"),
        (lambda: GreyST()([numbered(9)]), "given a list"),
    ],
)
def test_channels__refuse_what_they_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
