"""Colours of batches: jitter, grey, solarisation.

The formulas are torchvision's (those of PIL): every operation clamps its result to [0, 1], grey is 0.2989 R + 0.587 G +
0.114 B, contrast blends each frame with its own mean grey, hue turns in HSV. All work in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations

import torch
from torch import Tensor

from eztorch.transforms.batch.base import InPlaceTransform
from eztorch.transforms.batch.draws import draw_samples, pieces, probability, send, uniform
from eztorch.transforms.luma import BT_601_ROUNDED, luma
from eztorch.utils.errors import ConfigError

Change = Callable[[Tensor, Tensor], None]

_LEAST_CHROMA = 1e-12  # of a grey pixel, whose hue does not matter


def grey_of(batch: Tensor) -> Tensor:
    """Return the grey of a batch (B, 3, ...) or (B, 1, ...), shape (B, ...)."""
    if batch.shape[1] == 1:
        return batch.squeeze(1)
    return luma(batch, 1, BT_601_ROUNDED)


def adjust_brightness_(batch: Tensor, factor: Tensor) -> None:
    """Scale all values: 0 gives black, 1 the batch.

    Args:
        batch: Batch with values from 0 to 1, shape (B, 1 or 3, ..., H, W), changed in place.
        factor: Factor of each sample, shape (B,).
    """
    batch.mul_(_along(factor, batch)).clamp_(0, 1)


def adjust_contrast_(batch: Tensor, factor: Tensor) -> None:
    """Blend every frame with its mean grey: 0 gives the mean, 1 the batch; arguments as in `adjust_brightness_`."""
    factor = _along(factor, batch)
    mean = grey_of(batch.mean(dim=(-2, -1), keepdim=True)).unsqueeze(1)
    batch.mul_(factor).add_(mean.mul_(1 - factor)).clamp_(0, 1)


def adjust_saturation_(batch: Tensor, factor: Tensor) -> None:
    """Blend every pixel with its grey: 0 gives grey, 1 the batch; arguments as in `adjust_brightness_`."""
    if batch.shape[1] == 1:
        return
    factor = _along(factor, batch)
    grey = grey_of(batch).unsqueeze(1)
    batch.mul_(factor).add_(grey.mul_(1 - factor)).clamp_(0, 1)


def adjust_hue_(batch: Tensor, turn: Tensor) -> None:
    """Turn the hue.

    With V the largest of the three values, C what it exceeds the smallest by and h the hue in sixths of the circle, a
    channel whose complement has the hue c becomes `V - C clamp(||h - c| - 3| - 1, 0, 1)`. This is the way through HSV
    without the saturation, which falls out.

    Args:
        batch: Batch with values from 0 to 1, shape (B, 1 or 3, ..., H, W), changed in place.
        turn: Turn of each sample in circles, -0.5 to 0.5, shape (B,).
    """
    if batch.shape[1] == 1:
        return
    red, green, blue = batch.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    spare = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - spare
    near_green, near_blue = (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4)
    hue = torch.where(high == red, green - blue, torch.where(high == green, near_green, near_blue))
    hue.div_(torch.clamp(chroma, min=_LEAST_CHROMA, out=near_green)).add_(_along(6 * turn, hue))
    hue.sub_(torch.div(hue, 6, out=near_green).floor_().mul_(6))
    for channel, complement in ((red, 3), (green, 5), (blue, 1)):
        torch.sub(hue, complement, out=spare).abs_().sub_(3).abs_().sub_(1).clamp_(0, 1).mul_(chroma)
        torch.sub(high, spare, out=channel)


@cache
def _compiled(change: Change) -> Change:
    """Return an operation as one kernel for any shape, made when it is first called."""
    return torch.compile(change, dynamic=True)


def _along(factor: Tensor, batch: Tensor) -> Tensor:
    return factor.view(-1, *[1] * (batch.ndim - 1))


class ColorJitter(InPlaceTransform):
    """Change brightness, contrast, saturation and hue, each sample by its own factors and in its own random order.

    Args:
        brightness: Factors are drawn from U(1 - brightness, 1 + brightness), not below 0, or between two given values.
        contrast: The same.
        saturation: The same.
        hue: Turns are drawn from U(-hue, hue), at most 0.5, or between two given values.
        p: Probability that a sample is changed; see `draw_samples`.
        compile: Whether `torch.compile` makes one kernel of each operation, for which a CPU needs a C++ compiler. The
            first step takes about half a minute longer, and to turn the hue a third of the time.

    Raises:
        ConfigError: A range that is none, or outside of what is allowed.

    >>> tuple(ColorJitter(brightness=0.4, hue=0.1)(torch.rand(2, 3, 4, 4)).shape)
    (2, 3, 4, 4)
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
        p: float = 1.0,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.p = probability(p)
        self.compiled = compile
        ranges: list[tuple[Change, tuple[float, float], float]] = [
            (adjust_brightness_, _factors(brightness, "brightness"), 1),
            (adjust_contrast_, _factors(contrast, "contrast"), 1),
            (adjust_saturation_, _factors(saturation, "saturation"), 1),
            (adjust_hue_, _turns(hue), 0),
        ]
        in_use = [(change, limits) for change, limits, neutral in ranges if limits != (neutral, neutral)]
        self.changes = [change for change, _ in in_use]
        self.ranges = [limits for _, limits in in_use]
        self.orders = list(permutations(range(len(in_use))))

    def change(self, batch: Tensor) -> None:
        """Change the colours of samples in place."""
        check_channels(batch, "ColorJitter")
        samples = draw_samples(len(batch), self.p)
        factors = [uniform(len(samples), *limits) for limits in self.ranges]
        orders = torch.randint(len(self.orders), (len(samples),))
        # Samples of one order stand together, so that a device changes them together.
        together = orders.argsort(stable=True)
        samples = [samples[place] for place in together.tolist()]
        table = torch.stack([torch.tensor(samples, dtype=torch.float32), *(f[together] for f in factors)], dim=1)
        table = send(table, batch.device)
        changes = [_compiled(change) if self.compiled else change for change in self.changes]
        start = 0
        for order, number in enumerate(orders.bincount(minlength=len(self.orders)).tolist()):
            group, rows = samples[start : start + number], table[start : start + number]
            for piece, places in pieces(batch, group, rows[:, 0].long()):
                for which in self.orders[order]:
                    changes[which](piece, rows[places, 1 + which])
            start += number

    def extra_repr(self) -> str:
        """Show the ranges."""
        names = (change.__name__.removeprefix("adjust_").rstrip("_") for change in self.changes)
        return ", ".join(
            [*(f"{name}={limits}" for name, limits in zip(names, self.ranges, strict=True)), f"p={self.p}"]
        )


class RandomGrayscale(InPlaceTransform):
    """Turn samples to grey, in all three channels.

    Args:
        p: Probability that a sample is turned; see `draw_samples`.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = probability(p)

    def change(self, batch: Tensor) -> None:
        """Turn samples to grey in place."""
        check_channels(batch, "RandomGrayscale")
        samples = draw_samples(len(batch), self.p)
        for piece, _ in pieces(batch, samples, send(torch.tensor(samples, dtype=torch.int64), batch.device)):
            piece.copy_(grey_of(piece).unsqueeze(1).expand_as(piece))

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


class RandomSolarize(InPlaceTransform):
    """Replace values x of at least the threshold by 1 - x.

    Args:
        threshold: The threshold, 0 to 1.
        p: Probability that a sample is changed; see `draw_samples`.

    Raises:
        ConfigError: The threshold is outside of [0, 1].
    """

    def __init__(self, threshold: float = 0.5, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold={threshold}; expected a value from 0 to 1 (128 of 255 is 0.5).")
        self.threshold = threshold
        self.p = probability(p)

    def change(self, batch: Tensor) -> None:
        """Solarise samples in place."""
        samples = draw_samples(len(batch), self.p)
        for piece, _ in pieces(batch, samples, send(torch.tensor(samples, dtype=torch.int64), batch.device)):
            piece.copy_(torch.where(piece >= self.threshold, 1 - piece, piece))

    def extra_repr(self) -> str:
        """Show the threshold and the probability."""
        return f"threshold={self.threshold}, p={self.p}"


def check_channels(batch: Tensor, name: str) -> None:
    """Check that a batch has one channel or three.

    Raises:
        ConfigError: It has another number.
    """
    if batch.shape[1] not in (1, 3):
        raise ConfigError(f"{name} expects 1 or 3 channels in dimension 1 and was given {tuple(batch.shape)}.")


def _factors(value: float | Sequence[float], key: str) -> tuple[float, float]:
    low, high = (max(0, 1 - value), 1 + value) if isinstance(value, int | float) else _pair(value, key)
    if not 0 <= low <= high:
        raise ConfigError(f"{key}={value}; expected a number of at least 0, or two rising ones.")
    return float(low), float(high)


def _turns(value: float | Sequence[float]) -> tuple[float, float]:
    low, high = (-value, value) if isinstance(value, int | float) else _pair(value, "hue")
    if not -0.5 <= low <= high <= 0.5:
        raise ConfigError(f"hue={value}; expected a number from 0 to 0.5, or two rising ones from -0.5 to 0.5.")
    return float(low), float(high)


def _pair(value: Sequence[float], key: str) -> tuple[float, float]:
    if len(value) != 2:
        raise ConfigError(f"{key}={list(value)}; expected one number, or the lowest and the highest.")
    return value[0], value[1]
