"""Transforms of lists: of the views of a sample, or of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.utils.errors import ConfigError

Transform = Callable[[Any], Any]


class ApplyTransformOnList(nn.Module):
    """Transform every element by itself, each with its own draws.

    Args:
        transform: The transform of an element.
        list_len: Number of elements that there must be; None for any number.

    >>> ApplyTransformOnList(abs)([-1, 2])
    [1, 2]
    """

    def __init__(self, transform: Transform, list_len: int | None = None) -> None:
        super().__init__()
        self.transform = transform
        self.list_len = list_len

    def forward(self, values: Sequence[Any]) -> list[Any]:
        """Return the transformed elements."""
        _check_list(values, self.list_len, self)
        return [self.transform(value) for value in values]


class ApplyTransformsOnList(nn.Module):
    """Transform every element by a transform of its own: the first with the first, and so on.

    Args:
        transforms: The transforms, one for every element.

    >>> ApplyTransformsOnList([abs, str])([-1, 2])
    [1, '2']
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(as_module(transform) for transform in transforms)

    def forward(self, values: Sequence[Any]) -> list[Any]:
        """Return the transformed elements."""
        _check_list(values, len(self.transforms), self)
        return [transform(value) for transform, value in zip(self.transforms, values, strict=True)]


class ApplySameTransformOnList(nn.Module):
    """Transform all elements with the same draws: joined along a dimension, transformed once, parted again.

    Args:
        transform: The transform of the joined tensor; it must leave the length of the dimension as it is.
        list_len: Number of elements that there must be; None for any number.
        dim: The dimension to join along; 1 is time for clips `(C, T, H, W)`.
    """

    def __init__(self, transform: Transform, list_len: int | None = None, dim: int = 1) -> None:
        super().__init__()
        self.transform = transform
        self.list_len = list_len
        self.dim = dim

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return the transformed elements."""
        _check_list(values, self.list_len, self)
        joined: Tensor = self.transform(torch.cat(list(values), dim=self.dim))
        return list(joined.split([value.shape[self.dim] for value in values], dim=self.dim))


class _Call(nn.Module):
    """A callable as a module."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, value: Any) -> Any:
        return self.transform(value)

    def extra_repr(self) -> str:
        return repr(self.transform)


def as_module(transform: Transform) -> nn.Module:
    """Return a transform as a module, so that its tensors follow the model to its device."""
    return transform if isinstance(transform, nn.Module) else _Call(transform)


def _check_list(values: Any, length: int | None, transform: nn.Module) -> None:
    name = type(transform).__name__
    if not isinstance(values, list | tuple):
        raise ConfigError(
            f"{name} was given a {type(values).__name__} and not a list of views. For samples of one clip use the "
            "transform without 'List' in its name; for several views use RandomMultiClipSampler."
        )
    if length is not None and len(values) != length:
        raise ConfigError(f"{name} was given {len(values)} views where it expects {length}.")
