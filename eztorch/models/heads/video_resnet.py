"""Head of 3D residual networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from eztorch.modules.layers import make_activation, make_pool
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
    pooling = None
    if pool is not None:
        pooling = make_pool(
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
