"""Corruptions of decoded images and clips, to measure how robust a network is.

Each takes bytes, has severities 1 to 5, and draws from a generator that is passed, so that it repeats. Severity 0
changes nothing. C channels, T frames.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eztorch.transforms.batch.blur import gaussian_blur_
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

MAX_SEVERITY = 5
_TRUNCATE = 4  # deviations after which the kernel of the blur is cut, as in scipy and so in ImageNet-C


def gaussian_noise(clip: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add noise that is drawn for every channel of every pixel of every frame; see `CORRUPTIONS`."""
    noise = torch.randn(clip.shape, generator=generator)
    return _to_bytes(clip / 255 + deviation * noise)


def gaussian_blur(clip: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Blur the frames; beyond their borders they are reflected."""
    radius = min(_TRUNCATE * int(sigma), *(side - 1 for side in clip.shape[-2:]))
    blurred = (clip / 255)[None]
    gaussian_blur_(blurred, torch.tensor([sigma]), (2 * radius + 1, 2 * radius + 1))
    return _to_bytes(blurred[0])


def jpeg(clip: Tensor, quality: float, generator: torch.Generator) -> Tensor:
    """Encode each frame as JPEG and decode it."""
    if clip.shape[0] not in (1, 3):
        raise ConfigError(f"jpeg takes frames of 1 or 3 channels, not of {clip.shape[0]}.")
    frames = []
    for frame in clip.permute(1, 2, 3, 0).numpy():
        file = io.BytesIO()
        Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).save(file, "JPEG", quality=int(quality))
        frames.append(np.asarray(Image.open(file)).reshape(frame.shape))
    return torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).contiguous()


def brightness(clip: Tensor, offset: float, generator: torch.Generator) -> Tensor:
    """Add to the value of hue, saturation and value, the largest channel of a pixel, up to 1."""
    pixels = clip / 255
    value = pixels.amax(dim=0, keepdim=True)
    brighter = (value + offset).clamp_max(1)
    return _to_bytes(torch.where(value > 0, pixels * (brighter / value.clamp_min(1 / 255)), brighter))


def frame_drop(clip: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Lose a share of the frames, never the first; the last frame before that is there shows in its place."""
    frames = clip.shape[1]
    lost = 1 + torch.randperm(frames - 1, generator=generator)[: min(round(share * frames), frames - 1)]
    shown = torch.arange(frames)
    shown[lost] = 0
    return clip[:, shown.cummax(0).values]


def freeze(clip: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Show one frame, which is drawn, in the place of a share of the frames behind it; the others are as they were."""
    frames = clip.shape[1]
    length = min(1 + round(share * frames), frames)  # the frame itself, and those that it hides
    start = int(torch.randint(frames - length + 1, (), generator=generator))
    shown = torch.arange(frames)
    shown[start : start + length] = start
    return clip[:, shown]


@dataclass(frozen=True)
class Corruption:
    """A corruption.

    Attributes:
        function: From a clip, uint8, shape (C, T, H, W), a strength and a generator to the corrupted clip.
        strengths: Of the severities 1 to 5.
        of_time: Whether it is about the order of frames, so that crops of one clip have to share what is drawn.
    """

    function: Callable[[Tensor, float, torch.Generator], Tensor]
    strengths: tuple[float, float, float, float, float]
    of_time: bool = False


# The strengths of noise, blur, JPEG and brightness are those of ImageNet-C (Hendrycks and Dietterich, arXiv 1903.12261,
# in the code that made it): deviation of the noise, deviation of the blur in pixels (of frames of 224 x 224), quality,
# and offset; colours are from 0 to 1. It blurs with the border repeated, ours with it reflected. Those of lost and
# frozen frames are ours: shares of the frames of a clip.
CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": Corruption(gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "gaussian_blur": Corruption(gaussian_blur, (1, 2, 3, 4, 6)),
    "jpeg": Corruption(jpeg, (25, 18, 15, 10, 7)),
    "brightness": Corruption(brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "frame_drop": Corruption(frame_drop, (0.1, 0.2, 0.3, 0.5, 0.7), of_time=True),
    "freeze": Corruption(freeze, (0.1, 0.2, 0.3, 0.5, 0.7), of_time=True),
}


def corrupt(sample: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """Return a corrupted image or clip; what is passed in stays as it is.

    Args:
        sample: Bytes on the CPU, shape (C, H, W) or (C, T, H, W).
        name: One of `CORRUPTIONS`.
        severity: 1 to 5, or 0 for none.
        generator: What is drawn comes from it.

    Raises:
        ConfigError: The name or the severity is not known, the sample is no bytes, or an image where frames are needed.

    >>> corrupt(torch.zeros(3, 1, 1, dtype=torch.uint8), "brightness", 1, torch.Generator()).flatten().tolist()
    [26, 26, 26]
    """
    corruption = choose(CORRUPTIONS, name, "corruption")
    strength = 0.0 if check_severity(severity) == 0 else corruption.strengths[severity - 1]
    if sample.dtype != torch.uint8 or sample.ndim not in (3, 4):
        raise ConfigError(
            f"{name} corrupts bytes, (C, H, W) or (C, T, H, W), and was given {sample.dtype} of shape "
            f"{tuple(sample.shape)}. Leave the conversion to floats to model.test_transform."
        )
    if sample.ndim == 3 and corruption.of_time:
        raise ConfigError(f"{name} is about the frames of a clip, and these are images.")
    if severity == 0:
        return sample
    clip = sample[:, None] if sample.ndim == 3 else sample
    return corruption.function(clip, strength, generator).reshape(sample.shape)


def check_severity(severity: Any) -> int:
    """Return a severity.

    Raises:
        ConfigError: It is no whole number from 0 to 5.
    """
    if not isinstance(severity, int) or isinstance(severity, bool) or not 0 <= severity <= MAX_SEVERITY:
        raise ConfigError(f"severity={severity!r}; expected a whole number from 0 (none) to {MAX_SEVERITY}.")
    return severity


def _to_bytes(values: Tensor) -> Tensor:
    """Return bytes of values from 0 to 1, those beyond cut."""
    return values.clamp(0, 1).mul(255).round().to(torch.uint8)
