"""Heads of 3D residual networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.modules.layers import make_activation, make_optional_pool
from eztorch.utils.errors import ConfigError


class VideoResNetHead(nn.Module):
    """Pooling, dropout, projection, activation, average over time and space; built by `create_video_resnet_head`.

    Attributes:
        num_layers: 1 with a projection, 0 without, for layer-wise learning rates.

    Args:
        in_features: Channels C of the feature maps.
        num_classes: Length D of the projection; 0 for none, then D is C.
        pool: Pooling of the feature maps, None for none.
        dropout: Dropout of the pooled maps, None for none.
        activation: Activation of the projection, None for none.
        output_with_global_average: Average what is left of time and space.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        pool: nn.Module | None,
        dropout: nn.Module | None,
        activation: nn.Module | None,
        output_with_global_average: bool,
    ) -> None:
        super().__init__()
        self.input_dim, self.output_dim = in_features, num_classes or in_features
        self.num_layers = int(num_classes > 0)
        self.pool = pool
        self.dropout = dropout
        self.proj = nn.Linear(in_features, num_classes) if num_classes else None
        self.activation = activation
        self.output_with_global_average = output_with_global_average

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output.

        Args:
            x: Feature maps, shape (B, C, T, H, W).

        Returns:
            Features, shape (B, D), or without the global average maps, shape (B, D, T', H', W').
        """
        for layer in (self.pool, self.dropout):
            x = x if layer is None else layer(x)
        if self.proj is not None:
            x = self.proj(x.movedim(1, -1)).movedim(-1, 1)
        if self.activation is not None:
            x = self.activation(x)
        return x.mean(dim=(2, 3, 4)) if self.output_with_global_average else x


class VideoResNetTemporalHead(nn.Module):
    """Features or class scores of every step in time; built by `create_video_resnet_temporal_head`.

    Attributes:
        num_layers: 1 with a projection, 0 without, for layer-wise learning rates.

    Args:
        in_features: Channels C of the feature maps.
        num_classes: Length D of the projection; 0 for none, then D is C.
        num_tokens: Average steps in time to this number; None keeps them.
        dropout: Dropout of the averages, None for none.
        activation: Activation of the projection, None for none.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        num_tokens: int | None,
        dropout: nn.Module | None,
        activation: nn.Module | None,
    ) -> None:
        super().__init__()
        self.input_dim, self.output_dim = in_features, num_classes or in_features
        self.num_layers = int(num_classes > 0)
        self.num_tokens = num_tokens
        self.dropout = dropout
        self.proj = nn.Linear(in_features, num_classes) if num_classes else None
        self.activation = activation

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps, shape (B, C, T, H, W), to one output a step, shape (B, T or num_tokens, D)."""
        steps = x.mean(dim=(3, 4))
        steps = (steps if self.num_tokens is None else F.adaptive_avg_pool1d(steps, self.num_tokens)).mT
        for layer in (self.dropout, self.proj):
            steps = steps if layer is None else layer(steps)
        return steps if self.activation is None else self.activation(steps.mT).mT  # channels are dimension 1 there


def create_video_resnet_temporal_head(
    *,
    in_features: int,
    num_classes: int = 0,
    num_tokens: int | None = None,
    dropout_rate: float = 0.0,
    activation: str | None = None,
) -> VideoResNetTemporalHead:
    """Build a head that keeps time: (B, in_features, T, H, W) to features or class scores of every step, (B, T, D).

    Features are what methods that compare tokens take.

    Args:
        in_features: Channels of the feature maps.
        num_classes: Length of the output; 0 for no projection: the output has the `in_features` of the maps.
        num_tokens: Number of steps that those in time are averaged to; None keeps them.
        dropout_rate: Probability to drop a value before the projection.
        activation: `softmax` (over the classes), `relu` or `gelu` after the projection; None for none.

    Raises:
        ConfigError: An unknown name, a number of steps below 1, or a negative number of classes.

    >>> import torch
    >>> create_video_resnet_temporal_head(in_features=8, num_classes=5)(torch.zeros(2, 8, 4, 7, 7)).shape
    torch.Size([2, 4, 5])
    """
    if num_tokens is not None and num_tokens < 1:
        raise ConfigError(f"num_tokens={num_tokens}; expected a positive number, or null for one a step in time.")
    if num_classes < 0:
        raise ConfigError(f"num_classes={num_classes}; expected a positive number, or 0 for no projection.")
    return VideoResNetTemporalHead(
        in_features,
        num_classes,
        num_tokens,
        nn.Dropout(dropout_rate) if dropout_rate else None,
        None if activation is None else make_activation(activation, "activation"),
    )


def create_video_resnet_head(
    *,
    in_features: int,
    num_classes: int = 400,
    pool: str | None = None,
    output_size: Sequence[int] = (1, 1, 1),
    pool_kernel_size: Sequence[int] = (1, 7, 7),
    pool_stride: Sequence[int] = (1, 1, 1),
    pool_padding: Sequence[int] = (0, 0, 0),
    dropout_rate: float = 0.5,
    activation: str | None = None,
    output_with_global_average: bool = True,
) -> VideoResNetHead:
    """Build the head of a 3D residual network, from feature maps (B, in_features, T, H, W) to (B, num_classes).

    Args:
        in_features: Channels of the feature maps.
        num_classes: Length of the output; 0 for no projection: the output has the `in_features` of the maps.
        pool: `adaptive_avg_pool_3d` or `adaptive_max_pool_3d` to `output_size`, or `avg_pool_3d` or `max_pool_3d` with
            the window that the `pool_*` keys say; None for none.
        output_size: What an adaptive pooling leaves (T, H, W).
        pool_kernel_size: Window of the other poolings (T, H, W).
        pool_stride: Its stride (T, H, W).
        pool_padding: Its padding (T, H, W).
        dropout_rate: Probability to drop a value before the projection.
        activation: `softmax`, `relu` or `gelu` after the projection; None for none.
        output_with_global_average: Average the output over time and space; otherwise it keeps these dimensions.

    Raises:
        ConfigError: An unknown name, a size without three numbers, or a negative number of classes.
    """
    if num_classes < 0:
        raise ConfigError(f"num_classes={num_classes}; expected a positive number, or 0 for no projection.")
    pooling = make_optional_pool(
        pool,
        "pool",
        output_size=output_size,
        kernel_size=pool_kernel_size,
        stride=pool_stride,
        padding=pool_padding,
    )
    return VideoResNetHead(
        in_features,
        num_classes,
        pooling,
        nn.Dropout(dropout_rate) if dropout_rate else None,
        None if activation is None else make_activation(activation, "activation"),
        output_with_global_average,
    )
