"""What the channels of a clip are taken from: channel sampling over time, grey, the order of colours.

All of these take a clip `(C, T, H, W)` or a batch of clips `(B, C, T, H, W)`, uint8 or float, so they can stand in a
worker or on the device, before any model.

Channel sampling is that of Kim et al., arXiv 2201.10394: a frame of the result has three channels of different times,
so an ordinary 2D or 3D network sees motion in a single frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eztorch.transforms.luma import luma
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


def tc_indices(num_frames: int) -> list[int]:
    """Return the channels of TC Reordering: 1R 2R 3R, 2G 3G 4G, 3B 4B 5B, 4R 5R 6R, ...

    Channels are numbered frame by frame, 1R 1G 1B 2R ...; what would lie after the last frame is taken from that.

    Args:
        num_frames: Number of frames, at least 3.

    Returns:
        The channel that each channel of the result is, three a frame.

    >>> tc_indices(4)
    [0, 3, 6, 4, 7, 10, 8, 11, 11, 9, 9, 9]
    """
    return _clamped([_tc(k) for k in range(3 * num_frames)], num_frames)


def tc_plus2_indices(num_frames: int) -> list[int]:
    """Return the channels of TC+2: TC Reordering of two frames more than there are in the result, so nothing repeats.

    >>> tc_plus2_indices(5)
    [0, 3, 6, 4, 7, 10, 8, 11, 14]
    """
    return _clamped([_tc(k) for k in range(3 * (num_frames - 2))], num_frames)


def tc_rgb_indices(num_frames: int) -> list[int]:
    """Return the channels of TCrgb: 1R 2G 3B, 2R 3G 4B, ...; the last frame repeats.

    >>> tc_rgb_indices(3)
    [0, 4, 8, 3, 7, 8, 6, 7, 8]
    """
    return _clamped([(k // 3 + k % 3, k % 3) for k in range(3 * num_frames)], num_frames)


def tc_red_indices(num_frames: int) -> list[int]:
    """Return the channels of TCred: 1R 2R 3R, 2R 3R 4R, ...; the last frame repeats.

    >>> tc_red_indices(3)
    [0, 3, 6, 3, 6, 6, 6, 6, 6]
    """
    return _clamped([(k // 3 + k % 3, 0) for k in range(3 * num_frames)], num_frames)


def tc_short_long_indices(num_frames: int) -> list[int]:
    """Return the channels of TC Short-Long: TC Reordering of 8 frames, of which the last two are 3R 5R 7R, 4G 6G 8G.

    Raises:
        ConfigError: There are not 8 frames.
    """
    if num_frames != 8:
        raise ConfigError(f"TCShortLong takes 8 frames and was given {num_frames}.")
    return tc_indices(8)[:-6] + _clamped([(2, 0), (4, 0), (6, 0), (3, 1), (5, 1), (7, 1)], 8)


def _tc(k: int) -> tuple[int, int]:
    """Return frame and colour of channel k of TC Reordering: nine channels are three frames on."""
    group, place = divmod(k, 9)
    return 3 * group + place // 3 + place % 3, place // 3


def _clamped(channels: list[tuple[int, int]], num_frames: int) -> list[int]:
    if num_frames < 3:
        raise ConfigError(f"Channel sampling takes at least 3 frames and was given {num_frames}.")
    return [3 * min(frame, num_frames - 1) + colour for frame, colour in channels]


CHANNEL_SAMPLINGS: dict[str, Callable[[int], list[int]]] = {
    "TC": tc_indices,
    "TC+2": tc_plus2_indices,
    "TCrgb": tc_rgb_indices,
    "TCred": tc_red_indices,
    "TCShortLong": tc_short_long_indices,
}
"""The ways of channel sampling, by name."""


class ChannelSampling(nn.Module):
    """Take the channels of every frame from several frames.

    Args:
        kind: Name of one of `CHANNEL_SAMPLINGS`. `TC+2` gives two frames fewer than it is given, the others as many.

    Raises:
        ConfigError: Another name; when called, not 3 channels, or too few frames.

    >>> clip = torch.arange(9).view(3, 3, 1, 1).transpose(0, 1)  # 1R is 0, 1G 1, ..., 3B 8
    >>> ChannelSampling("TCrgb")(clip).transpose(0, 1).flatten().tolist()
    [0, 4, 8, 3, 7, 8, 6, 7, 8]
    """

    def __init__(self, kind: str = "TC") -> None:
        super().__init__()
        self.kind = kind
        self.indices = choose(CHANNEL_SAMPLINGS, kind, "kind")

    def forward(self, clip: Tensor) -> Tensor:
        """Return the reordered clip, shape ([B,] 3, T', H, W)."""
        num_frames = _frames_of(clip, "ChannelSampling")
        # From frame by frame to channel by channel, in which order a clip lies in memory.
        order = [c % 3 * num_frames + c // 3 for c in self.indices(num_frames)]
        by_channel = torch.tensor(order).view(-1, 3).T.flatten()
        index = by_channel.to(clip.device, non_blocking=True)
        result: Tensor = clip.flatten(-4, -3).index_select(-3, index).unflatten(-3, (3, -1))
        return result

    def extra_repr(self) -> str:
        """Show the kind."""
        return f"kind={self.kind!r}"


def grey(clip: Tensor) -> Tensor:
    """Return the grey of a clip, 0.299 R + 0.587 G + 0.114 B; uint8 is rounded.

    Args:
        clip: Clip, shape ([B,] 3, T, H, W).

    Returns:
        Clip, shape ([B,] 1, T, H, W).
    """
    weighted = luma(clip, -4)
    return (weighted if clip.is_floating_point() else weighted.round_().to(clip.dtype)).unsqueeze(-4)


class ToGrey(nn.Module):
    """Turn a clip to grey; see `grey`.

    Args:
        num_channels: Number of equal channels afterwards: 1, or 3 for a network of colour clips.

    Raises:
        ConfigError: Another number; when called, not 3 channels.
    """

    def __init__(self, num_channels: int = 1) -> None:
        super().__init__()
        if num_channels not in (1, 3):
            raise ConfigError(f"num_channels={num_channels}; expected 1 or 3.")
        self.num_channels = num_channels

    def forward(self, clip: Tensor) -> Tensor:
        """Return the grey clip, shape ([B,] num_channels, T, H, W)."""
        _frames_of(clip, "ToGrey")
        return grey(clip).repeat_interleave(self.num_channels, dim=-4)

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return f"num_channels={self.num_channels}"


class GreyST(nn.Module):
    """Make a frame of three consecutive grey ones, its channels, of every three frames.

    >>> clip = torch.arange(6.0).view(1, 6, 1, 1).expand(3, 6, 1, 1)
    >>> GreyST()(clip).transpose(0, 1).flatten().round().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Return the grey clip, shape ([B,] 3, T / 3, H, W).

        Raises:
            ConfigError: Not 3 channels, or a number of frames that is no multiple of 3.
        """
        num_frames = _frames_of(clip, "GreyST")
        if num_frames % 3:
            raise ConfigError(f"GreyST takes three frames for each of its own and was given {num_frames}.")
        threes: Tensor = grey(clip).squeeze(-4).unflatten(-3, (-1, 3))
        return threes.transpose(-4, -3)


class ReverseChannels(nn.Module):
    """Turn RGB to BGR, the order of networks that were trained with OpenCV or Caffe, or back."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return the clip with its channels reversed; shape ([B,] C, T, H, W)."""
        return clip.flip(-4)


def _frames_of(clip: Tensor, name: str) -> int:
    if not isinstance(clip, Tensor) or clip.ndim not in (4, 5) or clip.shape[-4] != 3:
        given = tuple(clip.shape) if isinstance(clip, Tensor) else f"a {type(clip).__name__}"
        raise ConfigError(f"{name} expects a clip (3, T, H, W) or a batch of them, and was given {given}.")
    return clip.shape[-3]
