"""Transforms along the time of a clip, shape `(C, T, H, W)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eztorch.transforms.luma import BT_601_ROUNDED, luma
from eztorch.utils.errors import ConfigError
from eztorch.utils.values import as_count


class UniformTemporalSubsample(nn.Module):
    """Keep evenly spaced frames: number i of n is frame `floor(i (T - 1) / (n - 1))`; frames repeat where T < n.

    Args:
        num_samples: Number of frames to keep, n.
        temporal_dim: Dimension of time.

    Raises:
        ConfigError: Fewer than one frame.

    >>> UniformTemporalSubsample(3, temporal_dim=0)(torch.arange(10)).tolist()
    [0, 4, 9]
    """

    def __init__(self, num_samples: int, temporal_dim: int = -3) -> None:
        super().__init__()
        self.num_samples = as_count(num_samples, "num_samples")
        self.temporal_dim = temporal_dim

    def forward(self, clip: Tensor) -> Tensor:
        """Return the kept frames."""
        last, steps = clip.shape[self.temporal_dim] - 1, max(self.num_samples - 1, 1)
        kept = torch.arange(self.num_samples, device=clip.device) * last // steps
        return clip.index_select(self.temporal_dim, kept)


class UniformTemporalSubsampleRepeated(nn.Module):
    """Keep evenly spaced frames at several rates: the pathways of SlowFast.

    Args:
        frame_ratios: For each result, the number of frames of which one is kept.
        temporal_dim: Dimension of time.

    Raises:
        ConfigError: A ratio below 1; when called, one that leaves no frame.

    >>> [kept.tolist() for kept in UniformTemporalSubsampleRepeated([4, 2], temporal_dim=0)(torch.arange(8))]
    [[0, 7], [0, 2, 4, 7]]
    """

    def __init__(self, frame_ratios: Sequence[int], temporal_dim: int = -3) -> None:
        super().__init__()
        if not frame_ratios or min(frame_ratios) < 1:
            raise ConfigError(f"frame_ratios={list(frame_ratios)}; expected numbers of at least 1.")
        self.frame_ratios = tuple(frame_ratios)
        self.temporal_dim = temporal_dim

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Return the kept frames, one tensor for each ratio."""
        numbers = [clip.shape[self.temporal_dim] // ratio for ratio in self.frame_ratios]
        return [UniformTemporalSubsample(number, self.temporal_dim)(clip) for number in numbers]


def temporal_difference(
    clip: Tensor, *, use_grayscale: bool = True, absolute: bool = False, highest: float = 255
) -> Tensor:
    """Return the differences of consecutive frames.

    With `d[t] = x[t] - x[t + 1]`, and the last difference that of the frame before, the result is `(d + 255) / 2`, or
    `|d|`. A single frame differs from nothing: `d = 0`.

    Args:
        clip: Clip, shape ([B,] C, T, H, W).
        use_grayscale: Whether colours, where C is 3, are turned to grey in all channels first.
        absolute: Whether the result is `|d|`.
        highest: The highest value that there can be: 255, or 1 for clips from 0 to 1.

    Returns:
        Clip of the same shape and type; uint8 is rounded.
    """
    frames = clip.float() if clip.dtype == torch.uint8 else clip
    if use_grayscale and frames.shape[-4] == 3:
        frames = luma(frames, -4, BT_601_ROUNDED).unsqueeze(-4).expand_as(frames)
    steps = frames.shape[-3] - 1
    if steps == 0:
        difference = torch.zeros_like(frames)
    else:
        difference = frames.narrow(-3, 0, steps) - frames.narrow(-3, 1, steps)
        difference = torch.cat([difference, difference.narrow(-3, steps - 1, 1)], dim=-3)
    result = difference.abs() if absolute else (difference + highest) / 2
    return result.round().clamp(0, 255).to(clip.dtype) if clip.dtype == torch.uint8 else result


class TemporalDifference(nn.Module):
    """Replace the frames of a clip by their differences; see `temporal_difference`.

    Args:
        use_grayscale: Whether colours are turned to grey first.
        absolute: Whether absolute values are taken.
    """

    def __init__(self, use_grayscale: bool = True, absolute: bool = False) -> None:
        super().__init__()
        self.use_grayscale = use_grayscale
        self.absolute = absolute

    def forward(self, clip: Tensor) -> Tensor:
        """Return the differences of a clip (C, T, H, W)."""
        return temporal_difference(clip, use_grayscale=self.use_grayscale, absolute=self.absolute)


class RandomTemporalDifference(nn.Module):
    """Replace the frames of a clip by their differences with a probability.

    Args:
        use_grayscale: Whether colours are turned to grey first.
        absolute: Whether absolute values are taken.
        p: The probability.

    Raises:
        ConfigError: `p` is no probability.
    """

    def __init__(self, use_grayscale: bool = True, absolute: bool = False, p: float = 0.2) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ConfigError(f"p={p}; expected a probability from 0 to 1.")
        self.difference = TemporalDifference(use_grayscale, absolute)
        self.p = p

    def forward(self, clip: Tensor) -> Tensor:
        """Return a clip (C, T, H, W), or its differences."""
        if torch.rand(()).item() >= self.p:
            return clip
        differences: Tensor = self.difference(clip)
        return differences


class RemoveTimeDim(nn.Module):
    """Join the channels and frames of a clip: `(C, T, H, W)` to `(C T, H, W)`, an image where T is 1."""

    def forward(self, clip: Tensor) -> Tensor:
        """Return the joined channels."""
        return clip.flatten(0, 1)
