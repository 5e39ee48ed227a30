"""The names by which configurations choose activation, normalisation and pooling layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

Triple = tuple[int, int, int]

_ACTIVATIONS: dict[str, Callable[[bool], nn.Module]] = {
    "relu": lambda inplace: nn.ReLU(inplace=inplace),
    "gelu": lambda _: nn.GELU(),
    "softmax": lambda _: nn.Softmax(dim=1),
}
_NORMS: dict[str, Callable[..., nn.Module]] = {
    "bn_1D": nn.BatchNorm1d,
    "bn_2D": nn.BatchNorm2d,
    "bn_3D": nn.BatchNorm3d,
    "sync_bn": nn.SyncBatchNorm,
}
_ADAPTIVE_POOLS: dict[str, Callable[..., nn.Module]] = {
    "adaptive_avg_pool_3d": nn.AdaptiveAvgPool3d,
    "adaptive_max_pool_3d": nn.AdaptiveMaxPool3d,
}
_WINDOW_POOLS: dict[str, Callable[..., nn.Module]] = {"avg_pool_3d": nn.AvgPool3d, "max_pool_3d": nn.MaxPool3d}


def triple(value: Sequence[int], key: str) -> Triple:
    """Return a size of a configuration over time, height and width as a tuple.

    Raises:
        ConfigError: There are not three numbers; the message names the key.

    >>> triple([1, 7, 7], "stem_conv_kernel_size")
    (1, 7, 7)
    """
    if not isinstance(value, Sequence) or len(value) != 3 or not all(isinstance(v, int) for v in value):
        raise ConfigError(f"{key}={value!r}; expected three whole numbers: time, height, width.")
    return value[0], value[1], value[2]


def make_activation(name: str, key: str, *, inplace: bool = False) -> nn.Module:
    """Build an activation.

    Args:
        name: `relu`, `gelu`, or `softmax` (over the channels, dimension 1).
        key: Configuration key of the name, for the message of an unknown one.
        inplace: Write over the input where the activation can.
    """
    return choose(_ACTIVATIONS, name, key)(inplace)


def make_norm(name: str, num_features: int, key: str, *, affine: bool = True) -> nn.Module:
    """Build a normalisation of `num_features` channels: `bn_1D`, `bn_2D`, `bn_3D` or `sync_bn`."""
    return choose(_NORMS, name, key)(num_features, affine=affine)


def make_pool(
    name: str,
    key: str,
    *,
    output_size: Sequence[int] = (1, 1, 1),
    kernel_size: Sequence[int] = (1, 7, 7),
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
) -> nn.Module:
    """Build a pooling over time and space.

    Args:
        name: `adaptive_avg_pool_3d` or `adaptive_max_pool_3d`, which use `output_size` alone, or `avg_pool_3d` or
            `max_pool_3d`, which use the others.
        key: Configuration key of the name, for the message of an unknown one.
        output_size: Size that is left (T, H, W).
        kernel_size: Size of the window (T, H, W).
        stride: Stride of the window (T, H, W).
        padding: Padding on both sides (T, H, W).
    """
    pool = choose({**_ADAPTIVE_POOLS, **_WINDOW_POOLS}, name, key)
    if name in _ADAPTIVE_POOLS:
        return pool(triple(output_size, "output_size"))
    return pool(
        triple(kernel_size, f"{key}_kernel_size"),
        stride=triple(stride, f"{key}_stride"),
        padding=triple(padding, f"{key}_padding"),
    )


def make_optional_pool(name: str | None, key: str, **sizes: Sequence[int]) -> nn.Module | None:
    """Build the pooling of a head, which may have none; see `make_pool`."""
    return None if name is None else make_pool(name, key, **sizes)
