"""Crops, sizes and flips of batches; uint8 batches stay uint8."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eztorch.transforms.batch.base import InPlaceTransform, checked, to_float
from eztorch.transforms.batch.draws import draw_samples, pieces, probability, send, uniform
from eztorch.transforms.batch.separable import Filter, resizing_matrices, separable
from eztorch.transforms.video.spatial import positive_range, resize
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_FILTERS = {"bicubic": "bicubic", "bilinear": "bilinear"}


def random_boxes(
    number: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], num_tries: int = 10
) -> Tensor:
    """Draw the boxes of random resized crops (Szegedy et al., arXiv 1409.4842), all at once.

    The share of the area is drawn from U(scale) and the logarithm of width over height from U(log ratio); where none of
    `num_tries` boxes fits, it is the largest box in the centre with an allowed ratio.

    Args:
        number: Number of boxes, B.
        height: Height of the frames.
        width: Width of the frames.
        scale: Range of the share of the area.
        ratio: Range of width over height.
        num_tries: Number of boxes to try.

    Returns:
        Top, left, height and width of each box, int64, shape (B, 4), on the CPU.
    """
    area = height * width * uniform((number, num_tries), *scale).double()
    ratios = uniform((number, num_tries), math.log(ratio[0]), math.log(ratio[1])).double().exp()
    heights, widths = (area / ratios).sqrt().round(), (area * ratios).sqrt().round()
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.int().argmax(dim=1, keepdim=True)  # the first that fits, 0 where none does
    places = torch.rand(number, 2, dtype=torch.float64)
    box_height, box_width = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    top, left = places[:, 0] * (height - box_height + 1), places[:, 1] * (width - box_width + 1)
    boxes = torch.stack([top, left, box_height, box_width], dim=1).long()
    allowed = min(max(width / height, ratio[0]), ratio[1])
    most = max(min(height, round(width / allowed)), 1), max(min(width, round(height * allowed)), 1)
    centre = torch.tensor([(height - most[0]) // 2, (width - most[1]) // 2, *most])
    return torch.where(fits.any(dim=1, keepdim=True), boxes, centre)


def resized_crops(batch: Tensor, boxes: Tensor, height: int, width: int, interpolation: Filter) -> Tensor:
    """Cut a box from every sample and scale it, with antialiasing; uint8 is rounded.

    On the CPU torch's own kernels are fastest, sample by sample; a device gets two batched matrix products.

    Args:
        batch: Batch, shape (B, ..., H, W).
        boxes: Top, left, height and width of each box, on the CPU, shape (B, 4).
        height: Height afterwards.
        width: Width afterwards.
        interpolation: `bilinear` or `bicubic`.

    Returns:
        Batch, shape (B, ..., height, width), of the type of the batch, but float32 for half precision.
    """
    batch = to_float(batch) if batch.is_floating_point() else batch
    if batch.device.type == "cpu":
        result = batch.new_empty(*batch.shape[:-2], height, width)
        for cut, sample, (top, left, h, w) in zip(result, batch, boxes.tolist(), strict=True):
            part = sample[..., top : top + h, left : left + w]
            clip = part if part.ndim == 4 else part.unsqueeze(1)
            cut.copy_(resize(clip, height, width, interpolation, antialias=True).view_as(cut))
        return result
    top, left, h, w = send(boxes.float(), batch.device).unbind(1)
    rows = resizing_matrices(top, h, batch.shape[-2], height, interpolation)
    columns = resizing_matrices(left, w, batch.shape[-1], width, interpolation)
    if batch.is_floating_point():
        return separable(batch, rows.to(batch.dtype), columns.to(batch.dtype)).contiguous()
    return separable(batch.float(), rows, columns).round_().clamp_(0, 255).to(batch.dtype).contiguous()


class RandomResizedCrop(nn.Module):
    """Cut a box of its own from every sample and scale it; see `random_boxes` and `resized_crops`.

    Args:
        size: Height and width afterwards, or one number for both.
        scale: Range of the share of the area that is cut.
        ratio: Range of width over height of the box.
        interpolation: `bilinear` or `bicubic`, with antialiasing.

    Raises:
        ConfigError: A size below 1, a range that is not positive and rising, or another interpolation.

    >>> tuple(RandomResizedCrop(32, scale=(0.2, 1.0))(torch.zeros(8, 3, 40, 48)).shape)
    (8, 3, 32, 32)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        self.size = _height_and_width(size)
        self.scale = positive_range(scale, "scale", highest=1)
        self.ratio = positive_range(ratio, "ratio")
        self.interpolation = cast(Filter, choose(_FILTERS, interpolation, "interpolation"))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the crops of a batch, shape (B, ..., *size)."""
        height, width = checked(batch).shape[-2:]
        boxes = random_boxes(len(batch), height, width, self.scale, self.ratio)
        return resized_crops(batch, boxes, *self.size, self.interpolation)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.size}, scale={self.scale}, ratio={self.ratio}, interpolation={self.interpolation!r}"


class RandomCrop(nn.Module):
    """Cut a box of a given size from a random place of every sample.

    Args:
        size: Height and width of the box, or one number for both.
        padding: Pixels that are added on every side first; CIFAR's recipes add 4.
        padding_mode: `constant` adds zeros, `reflect` mirrors and `replicate` repeats the border.

    Raises:
        ConfigError: A size below 1, a negative padding or another mode; when called, frames smaller than the box.

    >>> tuple(RandomCrop(32, padding=4)(torch.zeros(8, 3, 32, 32)).shape)
    (8, 3, 32, 32)
    """

    def __init__(self, size: int | Sequence[int], padding: int = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        self.size = _height_and_width(size)
        if padding < 0:
            raise ConfigError(f"padding={padding}; expected a number of at least 0.")
        self.padding = padding
        modes = {mode: mode for mode in ("constant", "reflect", "replicate")}
        self.padding_mode = choose(modes, padding_mode, "padding_mode")

    def forward(self, batch: Tensor) -> Tensor:
        """Return the crops of a batch, shape (B, ..., *size)."""
        height, width = self.size
        rows, columns = (side + 2 * self.padding for side in checked(batch).shape[-2:])
        _check_fit(self.size, (rows, columns))
        limits = torch.tensor([rows - height + 1, columns - width + 1])
        top, left = send((torch.rand(len(batch), 2, dtype=torch.float64) * limits).long(), batch.device).unbind(1)
        row = top[:, None] + torch.arange(height, device=batch.device) - self.padding
        column = left[:, None] + torch.arange(width, device=batch.device) - self.padding
        return self._take(self._take(batch, row, dim=-2), column, dim=-1)

    def _take(self, batch: Tensor, places: Tensor, dim: int) -> Tensor:
        """Take rows or columns, shape (B, n), of every sample; those outside are padding."""
        last = batch.shape[dim] - 1
        inside = places.clamp(0, last)
        if self.padding_mode == "reflect":
            inside = (last - (last - places.abs()).abs()).clamp(0, last)
        shape = [len(batch)] + [1] * (batch.ndim - 1)
        shape[dim] = places.shape[1]
        wanted = list(batch.shape)
        wanted[dim] = places.shape[1]
        taken = batch.gather(batch.ndim + dim, inside.view(shape).expand(wanted))
        if self.padding and self.padding_mode == "constant":
            taken = taken.masked_fill_((places != inside).view(shape), 0)
        return taken

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.size}, padding={self.padding}, padding_mode={self.padding_mode!r}"


class Resize(nn.Module):
    """Scale the frames of a batch, with antialiasing.

    Args:
        size: Length of the shorter side, the longer one being rounded down; or height and width.
        interpolation: `bilinear` or `bicubic`.

    Raises:
        ConfigError: A size below 1, or another interpolation.

    >>> tuple(Resize(32)(torch.zeros(8, 3, 40, 60)).shape)
    (8, 3, 32, 48)
    """

    def __init__(self, size: int | Sequence[int], interpolation: str = "bilinear") -> None:
        super().__init__()
        self.size = _height_and_width(size)
        self.keeps_ratio = isinstance(size, int)
        self.interpolation = cast(Filter, choose(_FILTERS, interpolation, "interpolation"))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the scaled batch."""
        rows, columns = checked(batch).shape[-2:]
        height, width = self.size
        if self.keeps_ratio:
            short = min(rows, columns)
            height, width = rows * height // short, columns * width // short
        whole = torch.tensor([0, 0, rows, columns]).expand(len(batch), 4)
        return resized_crops(batch, whole, height, width, self.interpolation)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.size[0] if self.keeps_ratio else self.size}, interpolation={self.interpolation!r}"


class CenterCrop(nn.Module):
    """Cut a box of a given size from the centre; the result is a view of the batch.

    Args:
        size: Height and width of the box, or one number for both.

    Raises:
        ConfigError: A size below 1; when called, frames smaller than the box.

    >>> CenterCrop(2)(torch.arange(16).view(1, 1, 4, 4)).flatten().tolist()
    [5, 6, 9, 10]
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = _height_and_width(size)

    def forward(self, batch: Tensor) -> Tensor:
        """Return the centre of a batch, shape (B, ..., *size)."""
        rows, columns = checked(batch).shape[-2:]
        height, width = self.size
        _check_fit(self.size, (rows, columns))
        top, left = round((rows - height) / 2), round((columns - width) / 2)
        return batch[..., top : top + height, left : left + width]

    def extra_repr(self) -> str:
        """Show the size."""
        return f"{self.size}"


class RandomHorizontalFlip(InPlaceTransform):
    """Mirror samples from left to right.

    Args:
        p: Probability that a sample is mirrored; see `draw_samples`.
        flow: Whether the channels are those of optical flow, u v u v ... around the middle of their range. Of what is
            mirrored, the horizontal part u changes its sign: it becomes 255 - u, or 1 - u for floats from 0 to 1.

    >>> RandomHorizontalFlip(p=1)(torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)).tolist()
    [[[[3, 2, 1]]]]
    """

    takes_bytes = True

    def __init__(self, p: float = 0.5, flow: bool = False) -> None:
        super().__init__()
        self.p = probability(p)
        self.flow = flow

    def change(self, batch: Tensor) -> None:
        """Mirror samples in place."""
        samples = draw_samples(len(batch), self.p)
        for piece, _ in pieces(batch, samples, send(torch.tensor(samples, dtype=torch.int64), batch.device)):
            piece.copy_(piece.flip(-1))
            if self.flow:
                piece[:, ::2] = (1 if piece.is_floating_point() else 255) - piece[:, ::2]

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"p={self.p}, flow={self.flow}"


def _height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size if len(size) == 2 else (0, 0)
    if min(height, width) < 1:
        raise ConfigError(f"size={size}; expected a number of at least 1, or height and width.")
    return height, width


def _check_fit(size: tuple[int, int], frames: tuple[int, int]) -> None:
    if size[0] > frames[0] or size[1] > frames[1]:
        raise ConfigError(f"A crop of {size[0]} x {size[1]} does not fit in frames of {frames[0]} x {frames[1]}.")
