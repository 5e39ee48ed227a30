"""Gaussian blur of batches, as a product with a matrix from each side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from eztorch.transforms.batch.base import InPlaceTransform
from eztorch.transforms.batch.draws import draw_samples, pieces, probability, send, uniform
from eztorch.transforms.batch.separable import separable
from eztorch.transforms.video.spatial import positive_range
from eztorch.utils.errors import ConfigError

_BAND = 56  # outputs that the CPU computes from the part of a side that they see

_LEAST_WEIGHT = 1e-9  # less is lost in rounding; denormal numbers would make the products several times slower


def blur_matrices(sigma: Tensor, size: int, radius: int) -> Tensor:
    """Return the matrices of a blur along a side, with the reflection at its ends folded in.

    Output i takes pixel j with the weight k(i - j) of the kernel, and with k(i + j) and k(2 (size - 1) - i - j), where
    the mirror images of the pixel lie.

    Args:
        sigma: Deviations of the samples in pixels, shape (B,).
        size: Length of the side, more than the radius.
        radius: The kernel reaches this far and is cut there; its sum is 1.

    Returns:
        Matrices, shape (B, size, size).
    """
    offsets = torch.arange(-radius, radius + 1, dtype=sigma.dtype, device=sigma.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]).square())
    kernel = kernel / kernel.sum(dim=-1, keepdim=True)
    kernel = torch.where(kernel < _LEAST_WEIGHT, 0, kernel)
    # Shifted kernels: row u of the unfolded ones is output size - 1 - u.
    matrices = pad(kernel, (size - 1 - radius,) * 2).unfold(-1, size, 1).flip(1)
    mirrored = pad(kernel[:, radius + 1 :], (0, radius)).unfold(-1, radius, 1)[:, :radius]
    matrices[:, :radius, 1 : radius + 1] += mirrored
    matrices[:, size - radius :, size - 1 - radius : size - 1] += mirrored.flip((1, 2))
    return matrices


def gaussian_blur_(batch: Tensor, sigma: Tensor, kernel_size: tuple[int, int]) -> None:
    """Blur every sample with its own deviation.

    Args:
        batch: Batch, shape (B, ..., H, W), changed in place.
        sigma: Deviations in pixels, shape (B,).
        kernel_size: Width of the kernel along the height and along the width, odd.
    """
    (height, width), (down, across) = batch.shape[-2:], (side // 2 for side in kernel_size)
    sigma = sigma.to(batch.dtype)
    rows = blur_matrices(sigma, height, down)
    columns = rows if (height, down) == (width, across) else blur_matrices(sigma, width, across)
    if batch.device.type == "cpu" and max(height, width) > _BAND:
        for sample, over_rows, over_columns in zip(batch, rows, columns, strict=True):
            _blur_in_bands_(sample, over_rows, over_columns, (down, across))
    else:
        batch.copy_(separable(batch, rows, columns))


def _blur_in_bands_(sample: Tensor, rows: Tensor, columns: Tensor, radius: tuple[int, int]) -> None:
    """Blur the frames of a sample (..., H, W) in bands: most of the matrices is zero."""
    frames = sample.reshape(-1, *sample.shape[-2:])
    across = torch.empty_like(frames)
    for out, seen in _bands(len(columns), radius[1]):
        torch.mm(frames.flatten(0, 1)[:, seen], columns[out, seen].T, out=across.flatten(0, 1)[:, out])
    for out, seen in _bands(len(rows), radius[0]):
        frames[:, out] = torch.bmm(rows[out, seen].expand(len(frames), -1, -1), across[:, seen])
    if frames.data_ptr() != sample.data_ptr():
        sample.copy_(frames.view_as(sample))


def _bands(size: int, radius: int) -> Iterator[tuple[slice, slice]]:
    """Part the outputs of a side, and yield with each part the pixels that it sees."""
    for start in range(0, size, _BAND):
        stop = min(start + _BAND, size)
        yield slice(start, stop), slice(max(start - radius, 0), min(stop + radius, size))


class GaussianBlur(InPlaceTransform):
    """Blur samples, each with its own deviation.

    Args:
        kernel_size: Width of the kernel in pixels, odd; or one for the height and one for the width.
        sigma: Deviation in pixels, or the range that it is drawn from.
        p: Probability that a sample is blurred; see `draw_samples`.

    Raises:
        ConfigError: A kernel that is not odd, or a range that is none; when called, frames that it does not fit.

    >>> GaussianBlur(3, sigma=0.5)(torch.ones(1, 1, 4, 4)).allclose(torch.ones(()))
    True
    """

    def __init__(
        self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0), p: float = 1.0
    ) -> None:
        super().__init__()
        sides = [kernel_size, kernel_size] if isinstance(kernel_size, int) else list(kernel_size)
        if len(sides) != 2 or any(side < 1 or side % 2 == 0 for side in sides):
            raise ConfigError(f"kernel_size={kernel_size}; expected an odd number, or two.")
        self.kernel_size = (sides[0], sides[1])
        self.sigma = positive_range((sigma, sigma) if isinstance(sigma, int | float) else sigma, "sigma")
        self.p = probability(p)

    def change(self, batch: Tensor) -> None:
        """Blur samples in place."""
        if any(side // 2 >= length for side, length in zip(self.kernel_size, batch.shape[-2:], strict=True)):
            raise ConfigError(
                f"kernel_size={self.kernel_size} is too wide for frames of {tuple(batch.shape[-2:])}; it must be less "
                "than twice their size."
            )
        samples = draw_samples(len(batch), self.p)
        table = torch.stack([torch.tensor(samples, dtype=torch.float32), uniform(len(samples), *self.sigma)], dim=1)
        table = send(table, batch.device)
        for piece, places in pieces(batch, samples, table[:, 0].long()):
            gaussian_blur_(piece, table[places, 1], self.kernel_size)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"kernel_size={self.kernel_size}, sigma={self.sigma}, p={self.p}"
