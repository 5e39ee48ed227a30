"""What batch transforms have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eztorch.transforms.on_list import Transform, as_module
from eztorch.utils.errors import ConfigError


def checked(batch: Tensor) -> Tensor:
    """Return a batch of images (B, C, H, W) or clips (B, C, T, H, W).

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(batch, Tensor) and batch.ndim in (4, 5):
        return batch
    given = tuple(batch.shape) if isinstance(batch, Tensor) else f"a {type(batch).__name__}"
    hint = " Use ApplyTransformOnList for a list of views." if isinstance(batch, list | tuple) else ""
    raise ConfigError(f"A batch transform expects images (B, C, H, W) or clips (B, C, T, H, W), not {given}.{hint}")


def to_float(batch: Tensor) -> Tensor:
    """Return a uint8 batch as float32 from 0 to 1, and a batch of floats with its values, in float32 at least."""
    if not batch.is_floating_point():
        return batch.to(torch.float32).div_(255)
    return batch.float() if batch.element_size() < 4 else batch


class InPlaceTransform(nn.Module, ABC):
    """A transform that can use the memory of the batch that it is given.

    Unless a class says that it takes bytes, a uint8 batch is first made float32 from 0 to 1.
    """

    takes_bytes = False

    def forward(self, batch: Tensor, inplace: bool = False) -> Tensor:
        """Return the transformed batch.

        Args:
            batch: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W).
            inplace: Whether the batch that is passed in may be changed; `Compose` knows when.

        Raises:
            ConfigError: The batch has another number of dimensions.
        """
        values = checked(batch) if self.takes_bytes else to_float(checked(batch))
        if values is batch and not inplace:
            values = batch.clone()
        self.change(values)
        return values

    @abstractmethod
    def change(self, batch: Tensor) -> None:
        """Transform a batch in place."""


class Compose(nn.Module):
    """Batch transforms, and other callables, one after the other.

    The batch that is passed in stays as it is. It is copied once at most: what follows the first copy works in place.

    Args:
        transforms: The transforms.

    >>> from eztorch.transforms.batch import Normalize, RandomHorizontalFlip, ToFloat
    >>> transform = Compose([RandomHorizontalFlip(p=0.5), ToFloat(), Normalize(mean=[0.5], std=[0.5])])
    >>> transform(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8))
    tensor([[[[1., 1.]]]])
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(as_module(transform) for transform in transforms)

    def forward(self, batch: Tensor) -> Tensor:
        """Return the transformed batch."""
        result = batch
        for transform in self.transforms:
            if isinstance(transform, InPlaceTransform):
                result = transform(result, inplace=not _share_memory(result, batch))
            else:
                result = transform(result)
        return result


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
