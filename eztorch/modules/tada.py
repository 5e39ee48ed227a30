"""Temporally adaptive convolutions, whose weights are calibrated for each frame.

Paper: TAda! Temporally-Adaptive Convolutions for Video Understanding, https://arxiv.org/abs/2110.06178.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.modules.frames import as_clips
from eztorch.utils.errors import ConfigError


class FrameCalibration(nn.Module):
    """Compute a factor of each channel and frame from the frame, its neighbours and the whole clip.

    With g_t the average of frame t over its places and g that over the clip,
    `alpha_t = 1 + expand(relu(batch_norm(reduce(g_t + context(g)))))`, where `reduce` and `expand` are convolutions
    over time. `expand` begins with zeros, so that every factor is 1.

    Args:
        channels: Channels C.
        reduction: There are C / reduction channels between the convolutions.
        kernel_sizes: Widths of the two convolutions in frames, odd.

    Raises:
        ConfigError: An even width, or not two of them.
    """

    def __init__(self, channels: int, reduction: int = 4, kernel_sizes: Sequence[int] = (3, 3)) -> None:
        super().__init__()
        if len(kernel_sizes) != 2 or not all(isinstance(size, int) and size % 2 == 1 for size in kernel_sizes):
            raise ConfigError(f"kernel_sizes={list(kernel_sizes)}; expected two odd numbers of frames.")
        inner = max(channels // reduction, 1)
        first, second = kernel_sizes
        self.context = nn.Linear(channels, channels)
        self.reduce = nn.Conv1d(channels, inner, first, padding=first // 2)
        self.norm = nn.BatchNorm1d(inner)
        self.expand = nn.Conv1d(inner, channels, second, padding=second // 2, bias=False)
        nn.init.zeros_(self.expand.weight)

    def forward(self, clips: Tensor) -> Tensor:
        """Return the factors, shape (B, T, C), for maps of clips, shape (B, T, C, H, W)."""
        frames = clips.mean(dim=(3, 4))
        context = self.context(frames.mean(dim=1, keepdim=True))
        hidden = F.relu(self.norm(self.reduce((frames + context).mT)))
        factors: Tensor = 1 + self.expand(hidden).mT
        return factors


class TAdaConv2d(nn.Conv2d):
    """A convolution of the maps of frames, shape (B T, C, H, W), with weights of their own for each frame.

    Frame t is convolved with `alpha_t[c] * weight[:, c]`, see `FrameCalibration`. That is the convolution of
    `alpha_t[c] * x[c]` with the weight itself, and so it is computed: one dense convolution, where weights for each
    frame take one with B T groups. At the beginning it is the plain convolution.

    Attributes:
        frames_per_clip: T; a frame model keeps it up to date, see `eztorch.modules.frames`.

    Args:
        in_channels: Channels C of the maps.
        out_channels: Channels of the result.
        kernel_size: Sides of the kernel.
        reduction: See `FrameCalibration`.
        kernel_sizes: Widths of the calibration's convolutions over time.
        **options: Further arguments of `Conv2d`.

    >>> import torch
    >>> conv = TAdaConv2d(4, 8, 3, padding=1)
    >>> conv.frames_per_clip = 2
    >>> conv(torch.zeros(6, 4, 5, 5)).shape
    torch.Size([6, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        reduction: int = 4,
        kernel_sizes: Sequence[int] = (3, 3),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.calibration = FrameCalibration(in_channels, reduction, kernel_sizes)
        self.frames_per_clip = 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps of frames, shape (B T, C, H, W)."""
        factors = self.calibration(as_clips(x, self.frames_per_clip))
        return super().forward(x * factors.flatten(0, 1)[:, :, None, None])


class TAdaConv3d(nn.Conv3d):
    """The same for maps of clips, shape (B, C, T, H, W): a convolution over space alone, calibrated for each frame.

    Args:
        in_channels: Channels C of the maps.
        out_channels: Channels of the result.
        kernel_size: Sides of the kernel, of which the first, over time, is 1.
        reduction: See `FrameCalibration`.
        kernel_sizes: Widths of the calibration's convolutions over time.
        **options: Further arguments of `Conv3d`.

    Raises:
        ConfigError: The kernel has a length over time, of which no frame is the only one.

    >>> import torch
    >>> TAdaConv3d(4, 8, (1, 3, 3), padding=(0, 1, 1))(torch.zeros(3, 4, 2, 5, 5)).shape
    torch.Size([3, 8, 2, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int, int],
        *,
        reduction: int = 4,
        kernel_sizes: Sequence[int] = (3, 3),
        **options: Any,
    ) -> None:
        if kernel_size[0] != 1:
            raise ConfigError(f"kernel_size={tuple(kernel_size)}; a kernel that is calibrated by frame has 1 in time.")
        super().__init__(in_channels, out_channels, kernel_size, **options)
        self.calibration = FrameCalibration(in_channels, reduction, kernel_sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve maps of clips, shape (B, C, T, H, W)."""
        factors = self.calibration(x.transpose(1, 2)).transpose(1, 2)
        return super().forward(x * factors[:, :, :, None, None])
