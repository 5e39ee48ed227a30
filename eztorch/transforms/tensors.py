"""Transforms of images and of tensors of any shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.transforms.on_list import Transform, as_module
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_INTERPOLATIONS = {name: name for name in ("bicubic", "bilinear", "nearest")}
_FLOAT_TYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float": torch.float32,
    "float32": torch.float32,
    "float64": torch.float64,
}


class Div255Input(nn.Module):
    """Divide by 255, so that 0 to 255 becomes 0 to 1.

    Args:
        inplace: Whether a tensor that already has the `dtype` is divided in place. That is for batches on the device,
            which nothing else reads any more; the tensor that was passed in then holds the result. Other tensors, such
            as uint8 ones, are never changed.
        dtype: Type of the result, a floating one, or its name.

    Raises:
        ConfigError: `dtype` is no floating type.

    >>> Div255Input()(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """

    def __init__(self, inplace: bool = False, dtype: torch.dtype | str = torch.float32) -> None:
        super().__init__()
        name = str(dtype).removeprefix("torch.")
        self.inplace = inplace
        self.dtype = choose(_FLOAT_TYPES, name, "dtype")

    def forward(self, values: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Divide a tensor, or every tensor of a list."""
        return self._divide(values) if isinstance(values, Tensor) else [self._divide(value) for value in values]

    def _divide(self, value: Tensor) -> Tensor:
        converted = value.to(self.dtype)
        return converted.div_(255) if self.inplace or converted is not value else converted / 255

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"inplace={self.inplace}, dtype={self.dtype}"


class MultiCropTransform(nn.Module):
    """Make the views of an image or clip, or of a batch of them: every set gives `num_views` of them by its transform.

    Of a list, such as several clips of a video, the views are made in turns: the first view is of the first element,
    the second of the second, and after the last the first is next.

    Args:
        set_transforms: Mappings of `transform` and `num_views`, 1 by default.

    Raises:
        ConfigError: A set has other keys or fewer than one view, or there is no set.

    >>> transform = MultiCropTransform([{"transform": abs, "num_views": 2}, {"transform": str}])
    >>> transform(-1)
    [1, 1, '-1']
    >>> transform([-1, -2])
    [1, 2, '-1']
    """

    def __init__(self, set_transforms: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        transforms: list[Transform] = []
        for index, one in enumerate(set_transforms):
            views = one.get("num_views", 1)
            if "transform" not in one or set(one) - {"transform", "num_views"} or views < 1:
                raise ConfigError(
                    f"set_transforms[{index}]={dict(one)!r}; expected the keys transform and num_views, at least 1."
                )
            transforms += [one["transform"]] * views
        if not transforms:
            raise ConfigError("set_transforms=[]; expected at least one set of transform and num_views.")
        self.transforms = nn.ModuleList(as_module(transform) for transform in transforms)

    def forward(self, image: Any) -> list[Any]:
        """Return the views, in the order of the sets."""
        sources = cycle(image if isinstance(image, list | tuple) else [image])
        return [transform(source) for transform, source in zip(self.transforms, sources, strict=False)]


def RandomResizedCrop(
    size: int | Sequence[int],
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
    antialias: bool = True,
) -> nn.Module:
    """Return torchvision's random resized crop of an image, its interpolation by name.

    Args:
        size: Height and width of the result, or one number for both.
        scale: Range of the share of the area that is cropped.
        ratio: Range of width over height of what is cropped.
        interpolation: `nearest`, `bilinear` or `bicubic`.
        antialias: Whether to filter before scaling tensors down; images of PIL always are.

    Raises:
        ConfigError: Another interpolation.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import RandomResizedCrop as Crop

    mode = InterpolationMode(choose(_INTERPOLATIONS, interpolation, "interpolation"))
    crop: nn.Module = Crop(size, scale=scale, ratio=ratio, interpolation=mode, antialias=antialias)
    return crop
