"""Linear head on the feature maps of a 3D network, or on tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.heads.linear import init_linear
from eztorch.modules.layers import make_norm, make_optional_pool, triple
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_CLASS_TOKEN = "cls"
_ROW_NORMS = {name: name for name in ("bn_1D", "sync_bn")}  # a position is a row of the batch


class Linear3DHead(nn.Module):
    """Pooling, view, L2 and batch normalisation, dropout, linear layer; built by `create_linear3d_head`.

    Attributes:
        num_layers: 1 with a linear or batch normalisation layer, 0 without, for layer-wise learning rates.

    Args:
        in_features: Channels C of the feature maps, or length of the tokens.
        num_classes: Length K of the output; 0 for no linear layer.
        pool: Pooling of maps, None for none.
        class_token: Take the first token of each sample in the place of a pooling.
        view: Positions that the features of a sample are made of, one after the other; None keeps them apart.
        norm: Scale features to a length of 1.
        bn: Name of a batch normalisation of the features, None for none.
        dropout_rate: Probability to drop a feature before the linear layer.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        pool: nn.Module | None,
        class_token: bool,
        view: int | None,
        norm: bool,
        bn: str | None,
        dropout_rate: float,
    ) -> None:
        super().__init__()
        self.input_dim, self.num_features = in_features, in_features * (view or 1)
        self.output_dim = num_classes or self.num_features
        self.pool, self.class_token, self.view, self.norm = pool, class_token, view, norm
        self.bn = None if bn is None else make_norm(choose(_ROW_NORMS, bn, "bn"), self.num_features, "bn")
        self.dropout = nn.Dropout(dropout_rate) if dropout_rate else None
        self.proj = nn.Linear(self.num_features, num_classes) if num_classes else None
        if self.proj is not None:
            init_linear(self.proj, mean=0.0, std=0.01, zero_bias=True)
        self.num_layers = int(self.bn is not None or self.proj is not None)

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
            x: Feature maps, shape (B, C, T, H, W), tokens, shape (B, N, C), or features, shape (B, C).

        Returns:
            Shape (B, D). Without the view (B, D, T', H', W') of maps, (B, N', D) of tokens.

        Raises:
            ConfigError: What comes in, or what the pooling leaves, is not what the keys say.
        """
        pooled = self._pooled(self._as_maps(x))
        if self.view is not None:
            if pooled[0].numel() != self.num_features:
                raise ConfigError(
                    f"pool leaves {tuple(pooled.shape[2:])} positions (T, H, W) of {pooled.shape[1]} channels, and the "
                    f"head takes {self.num_features} features a sample; pool to output_size with an adaptive pooling, "
                    "or write view=false."
                )
            return self._projected(pooled.flatten(1))
        rows = pooled.movedim(1, -1)
        out = self._projected(rows.flatten(0, -2)).unflatten(0, rows.shape[:-1])
        result: Tensor = out.flatten(1, -2) if x.ndim == 3 else out.movedim(-1, 1)
        return result

    def _as_maps(self, x: Tensor) -> Tensor:
        """Return tokens as maps with as many steps in time, and features as maps of one position."""
        channels = x.shape[-1] if x.ndim == 3 else x.shape[1]
        if x.ndim not in (2, 3, 5) or channels != self.input_dim:
            raise ConfigError(
                f"A head with in_features={self.input_dim} takes maps (B, C, T, H, W), tokens (B, N, C) or features "
                f"(B, C) with so many channels, not {tuple(x.shape)}."
            )
        if self.class_token and x.ndim == 5:
            raise ConfigError("pool=cls takes the class token, and the trunk gives feature maps; write pool=null.")
        if x.ndim == 3:
            return x.mT[..., None, None]
        return x if x.ndim == 5 else x[..., None, None, None]

    def _pooled(self, maps: Tensor) -> Tensor:
        if self.class_token:
            return maps[:, :, :1]
        pooled: Tensor = maps if self.pool is None else self.pool(maps)
        return pooled

    def _projected(self, rows: Tensor) -> Tensor:
        """Map features, shape (R, F), to outputs, shape (R, D)."""
        if self.norm:
            rows = F.normalize(rows, dim=1)
        for layer in (self.bn, self.dropout, self.proj):
            rows = rows if layer is None else layer(rows)
        return rows


def create_linear3d_head(
    *,
    in_features: int,
    num_classes: int = 400,
    bn: str | None = None,
    norm: bool = False,
    pool: str | None = "adaptive_avg_pool_3d",
    pool_kernel_size: Sequence[int] = (1, 7, 7),
    pool_stride: Sequence[int] = (1, 1, 1),
    pool_padding: Sequence[int] = (0, 0, 0),
    output_size: Sequence[int] = (1, 1, 1),
    dropout_rate: float = 0.5,
    view: bool = True,
) -> Linear3DHead:
    """Build a linear head: pooling, view, L2 normalisation, batch normalisation, dropout, linear layer.

    It takes feature maps (B, C, T, H, W) or tokens (B, N, C), which are pooled as N steps in time; features (B, C) that
    the trunk has pooled pass as they are.

    Args:
        in_features: Channels C of the feature maps, or length of the tokens.
        num_classes: Length of the output; 0 for no linear layer.
        bn: `bn_1D` or `sync_bn` before the linear layer; None for none.
        norm: Scale the features to a length of 1 before it.
        pool: `adaptive_avg_pool_3d` or `adaptive_max_pool_3d` to `output_size`; `avg_pool_3d` or `max_pool_3d` with the
            window that the `pool_*` keys say; `cls` for the first token; None for none.
        pool_kernel_size: Window of the poolings that are not adaptive (T, H, W).
        pool_stride: Its stride (T, H, W).
        pool_padding: Its padding (T, H, W).
        output_size: What an adaptive pooling leaves (T, H, W).
        dropout_rate: Probability to drop a feature before the linear layer.
        view: Make one row of features of a sample. With several positions of an adaptive pooling they are all in it,
            `in_features` times their number. False keeps positions apart, each with an output.

    Raises:
        ConfigError: An unknown name, a size without three numbers, or a negative number of classes.

    >>> import torch
    >>> head = create_linear3d_head(in_features=8, num_classes=5, bn="bn_1D")
    >>> head(torch.zeros(2, 8, 4, 7, 7)).shape, head(torch.zeros(2, 10, 8)).shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """
    if num_classes < 0:
        raise ConfigError(f"num_classes={num_classes}; expected a positive number, or 0 for no linear layer.")
    class_token = pool == _CLASS_TOKEN
    pooling = make_optional_pool(
        None if class_token else pool,
        "pool",
        output_size=output_size,
        kernel_size=pool_kernel_size,
        stride=pool_stride,
        padding=pool_padding,
    )
    positions = math.prod(triple(output_size, "output_size")) if "adaptive" in (pool or "") else 1
    return Linear3DHead(
        in_features,
        num_classes,
        pool=pooling,
        class_token=class_token,
        view=positions if view else None,
        norm=norm,
        bn=bn,
        dropout_rate=dropout_rate,
    )
