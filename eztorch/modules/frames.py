"""Bricks by which a 2D network over the frames of clips looks over time.

Each maps feature maps of frames, shape (B T, C, H, W) with the T frames of a clip one after another, to maps of the
same shape, and knows T as its `frames_per_clip`; a frame model keeps that up to date, see `set_frames_per_clip`. Maps
in channels-last stay so.

Papers: TSM, https://arxiv.org/abs/1811.08383; MVFNet, https://arxiv.org/abs/2012.06977; TDN,
https://arxiv.org/abs/2012.10071.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


def set_frames_per_clip(network: nn.Module, frames_per_clip: int) -> None:
    """Tell every brick in a network how many frames a clip has."""
    bricks: list[Any] = [module for module in network.modules() if hasattr(module, "frames_per_clip")]
    for brick in bricks:
        brick.frames_per_clip = frames_per_clip


def as_clips(x: Tensor, frames_per_clip: int) -> Tensor:
    """View maps of frames, shape (B T, ...), as maps of clips, shape (B, T, ...)."""
    clips: Tensor = x.unflatten(0, (-1, frames_per_clip))
    return clips


def as_columns(x: Tensor, frames_per_clip: int) -> Tensor:
    """View maps of frames, shape (B T, C, H, W), as planes of time by place, shape (B, C, T, H W).

    A 2D operation with a kernel of (k, 1) on these is one over time. Channels-last maps give channels-last planes.
    """
    return as_clips(x, frames_per_clip).transpose(1, 2).flatten(3)


def from_columns(planes: Tensor, height: int, width: int) -> Tensor:
    """Undo `as_columns`."""
    clips: Tensor = planes.unflatten(3, (height, width)).transpose(1, 2)
    return clips.flatten(0, 1)


def temporal_shift(x: Tensor, frames_per_clip: int, fold: int) -> Tensor:
    """Move the first `fold` channels a frame back in time and the next `fold` a frame on; the others stay.

    Frame t of the result has the first channels of frame t + 1 and the next of frame t - 1; where a clip has no such
    frame there are zeros. The input is left as it is.

    Args:
        x: Maps of frames, shape (B T, C, H, W).
        frames_per_clip: T.
        fold: Number of channels that move in each direction.

    >>> clip = torch.arange(1.0, 10).view(3, 3, 1, 1)  # three frames with three channels
    >>> temporal_shift(clip, 3, 1).view(3, 3).tolist()
    [[4.0, 0.0, 3.0], [7.0, 2.0, 6.0], [0.0, 5.0, 9.0]]
    """
    shifted: Tensor = _Shift.apply(x, frames_per_clip, slice(0, fold), slice(fold, 2 * fold))
    return shifted


class _Shift(torch.autograd.Function):
    """The shift, whose gradient is the shift in the other directions: one copy forward, one back, nothing saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frames_per_clip: int, back: slice, on: slice) -> Tensor:
        ctx.arguments = (frames_per_clip, on, back)
        result = x.clone()
        old, new = as_clips(x, frames_per_clip), as_clips(result, frames_per_clip)
        new[:, :-1, back] = old[:, 1:, back]
        new[:, -1, back] = 0
        new[:, 1:, on] = old[:, :-1, on]
        new[:, 0, on] = 0
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad: Tensor = _Shift.apply(grads[0], *ctx.arguments)
        return grad, None, None, None


class TemporalShift(nn.Module):
    """The shift of TSM: a share of the channels moves by a frame; see `temporal_shift`.

    Args:
        channels: Channels C of the maps.
        fold_div: The share of the channels that moves in each direction is 1 / fold_div.

    Raises:
        ConfigError: `fold_div` leaves no channels, or more than there are.
    """

    def __init__(self, channels: int, fold_div: int = 8) -> None:
        super().__init__()
        if not 2 <= fold_div <= channels:
            raise ConfigError(f"fold_div={fold_div}; expected 2 to {channels}, the number of channels.")
        self.fold = channels // fold_div
        self.frames_per_clip = 1

    def forward(self, x: Tensor) -> Tensor:
        """Shift maps of frames, shape (B T, C, H, W)."""
        return temporal_shift(x, self.frames_per_clip, self.fold)

    def extra_repr(self) -> str:
        """Show the number of channels that move."""
        return f"fold={self.fold}"


class TemporalConv(nn.Module):
    """A convolution over time of each channel by itself, three frames wide.

    Args:
        channels: Channels C of the maps.
        fold_div: Begin as the shift of TSM with this `fold_div`; None begins with random weights.
    """

    def __init__(self, channels: int, fold_div: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels, bias=False)
        self.frames_per_clip = 1
        if fold_div is not None:
            fold = TemporalShift(channels, fold_div).fold
            taps = torch.ones(channels, dtype=torch.long)
            taps[:fold], taps[fold : 2 * fold] = 2, 0
            with torch.no_grad():
                self.conv.weight.copy_(F.one_hot(taps, 3).view_as(self.conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps of frames, shape (B T, C, H, W), over time; before and after a clip there are zeros."""
        return from_columns(self.conv(as_columns(x, self.frames_per_clip)), *x.shape[2:])


class MultiViewFusion(nn.Module):
    """Fuse convolutions of a share of the channels over time, height and width (MVFNet).

    Of the first channels, `hard_swish(batch_norm(t * x + h * x + w * x))`, each kernel three wide and of one channel
    alone; the other channels stay.

    Args:
        channels: Channels C of the maps.
        share: Share of the channels that is fused.

    Raises:
        ConfigError: The share leaves no channel, or is above 1.
    """

    def __init__(self, channels: int, share: float = 0.125) -> None:
        super().__init__()
        self.fused = fused = int(channels * share)
        if not 1 <= fused <= channels:
            raise ConfigError(f"share={share} of {channels} channels; expected above 0, to have any, and at most 1.")
        self.time = TemporalConv(fused)
        self.height = nn.Conv2d(fused, fused, (3, 1), padding=(1, 0), groups=fused, bias=False)
        self.width = nn.Conv2d(fused, fused, (1, 3), padding=(0, 1), groups=fused, bias=False)
        self.norm = nn.BatchNorm2d(fused)
        for conv in (self.time.conv, self.height, self.width):
            nn.init.normal_(conv.weight, std=math.sqrt(2 / (3 * fused)))

    def forward(self, x: Tensor) -> Tensor:
        """Fuse maps of frames, shape (B T, C, H, W)."""
        views, rest = x[:, : self.fused], x[:, self.fused :]
        views = F.hardswish(self.norm(self.time(views) + self.height(views) + self.width(views)))
        return torch.cat([views, rest], dim=1)


class LongTermDifference(nn.Module):
    """Weigh maps by how they differ from those of the next and of the last frame, at two scales (TDN, section 3.3).

    With r the maps at a share of the channels and s a 3 x 3 convolution, the differences are `s(r_{t+1}) - r_t` and
    `s(r_{t-1}) - r_t`, zero where there is no such frame. Of each, three scales are averaged, expanded to all channels
    and turned to a weight by `sigmoid - 1/2`; the result is `x + x (weight forward + weight backward) / 2`.

    The backward difference passes the convolution of the full scale as the forward one does; the authors' code puts the
    forward difference in there a second time.

    Args:
        channels: Channels C of the maps.
        reduction: The differences have C / reduction channels.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.reduce = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.smooth = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.full_scale = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner))
        self.half_scale = nn.Sequential(nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner))
        self.expand = nn.Sequential(nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.frames_per_clip = 1

    def forward(self, x: Tensor) -> Tensor:
        """Weigh maps of frames, shape (B T, C, H, W)."""
        reduced = self.reduce(x)
        now, other = (as_clips(maps, self.frames_per_clip) for maps in (reduced, self.smooth(reduced)))
        to_next = F.pad(other[:, 1:] - now[:, :-1], (0, 0) * 3 + (0, 1)).flatten(0, 1)
        to_last = F.pad(other[:, :-1] - now[:, 1:], (0, 0) * 3 + (1, 0)).flatten(0, 1)
        weight = (self._weight(to_next) + self._weight(to_last)) / 2
        return x + x * weight

    def _weight(self, difference: Tensor) -> Tensor:
        half = F.avg_pool2d(difference, 2) if min(difference.shape[2:]) > 1 else difference
        half = F.interpolate(self.half_scale(half), difference.shape[2:])
        return torch.sigmoid(self.expand((difference + half + self.full_scale(difference)) / 3)) - 0.5


class BrickConv2d(nn.Conv2d):
    """A convolution in front of which a brick stands.

    The parameters of the convolution keep their names, so weights of the network without the brick still load.

    Args:
        conv: The convolution, whose parameters are taken over.
        brick: What its input passes first.
    """

    def __init__(self, conv: nn.Conv2d, brick: nn.Module) -> None:
        super().__init__(**conv_arguments(conv), device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.brick = brick

    def forward(self, x: Tensor) -> Tensor:
        """Convolve what the brick makes of maps of frames, shape (B T, C, H, W)."""
        return super().forward(self.brick(x))


def conv_arguments(conv: nn.Conv2d | nn.Conv3d) -> dict[str, Any]:
    """Return the arguments by which a convolution is built, but for device and dtype."""
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    return {**{name: getattr(conv, name) for name in names}, "bias": conv.bias is not None}
