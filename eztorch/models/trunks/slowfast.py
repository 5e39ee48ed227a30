"""SlowFast networks: two pathways that look at the frames of a clip at two rates.

Paper: https://arxiv.org/abs/1812.03982. The input is one clip; which of its frames a pathway sees is decided here. The
names of the parameters are pytorchvideo's, so that its checkpoints load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.models.trunks.convolutions import replace_spatial_convs
from eztorch.models.trunks.parts import checked_classes
from eztorch.models.trunks.res_blocks3d import DEPTHS, EXPANSION, BlockStyle, make_stage, make_stem
from eztorch.modules.layers import Triple, make_norm
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_SLOW_KERNELS: tuple[Triple, ...] = ((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1))


def strided_frames(num_frames: int, alpha: int) -> range:
    """Return every `alpha`-th frame (the paper).

    >>> list(strided_frames(32, 8))
    [0, 8, 16, 24]
    """
    return range(0, num_frames, alpha)


def spread_frames(num_frames: int, alpha: int) -> list[int]:
    """Return `num_frames / alpha` frames from the first to the last, rounded down (PySlowFast and its weights).

    Raises:
        ConfigError: `alpha` does not divide the number of frames.

    >>> spread_frames(32, 8)
    [0, 10, 20, 31]
    """
    count, rest = divmod(num_frames, alpha)
    if rest:
        raise ConfigError(f"alpha={alpha} does not divide the {num_frames} frames of the fast pathway.")
    return [i * (num_frames - 1) // max(count - 1, 1) for i in range(count)]


_SLOW_FRAMES: dict[str, Callable[[int, int], Sequence[int]]] = {"stride": strided_frames, "spread": spread_frames}


class SlowFast(nn.Module):
    """Two pathways with lateral connections, from clips to features or logits; built by `create_slowfast`.

    Attributes:
        num_features: Length of the features: the channels of both pathways.
        num_layers: Number of layers for layer-wise learning rates: the stems, each pair of residual blocks with the
            lateral connection behind it, and the classifier where there is one.

    Args:
        stages: Stems and stages of both pathways.
        num_features: Channels of both pathways at the end.
        num_classes: Length of the output; 0 gives the features.
        dropout: Dropout before the classifier.
        alpha: How many frames of the fast pathway there are for one of the slow one.
        fast_stride: The fast pathway sees every so many-th frame of the clip.
        slow_frames: Which of these the slow pathway sees: `stride` or `spread`.
    """

    def __init__(
        self,
        stages: Sequence[_Stage],
        *,
        num_features: int,
        num_classes: int,
        dropout: float,
        alpha: int,
        fast_stride: int,
        slow_frames: str,
    ) -> None:
        super().__init__()
        self.alpha, self.fast_stride = alpha, fast_stride
        self._slow_frames = choose(_SLOW_FRAMES, slow_frames, "slow_frames")
        self.num_features = num_features
        self.blocks = nn.ModuleList([*stages, _PoolAndJoin()])
        if num_classes:
            proj = nn.Linear(num_features, num_classes)
            self.blocks.append(nn.Sequential(OrderedDict(dropout=nn.Dropout(dropout), proj=proj)))
        depths = [1, *(stage.depth for stage in stages[1:]), 0, 1][: len(self.blocks)]
        self.num_layers = sum(depths)
        self._last_layers = [sum(depths[: i + 1]) - 1 for i in range(len(depths))]

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; both pathways share theirs."""
        _, stage, *rest = name.split(".")
        last = self._last_layers[int(stage)]
        if "res_blocks" not in rest:
            return last
        return self._last_layers[int(stage) - 1] + 1 + int(rest[rest.index("res_blocks") + 1])

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def pathways(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the slow and the fast pathway see of clips, shape (B, channels, T, H, W).

        Raises:
            ConfigError: The number of frames does not fit `alpha`.
        """
        fast = x[:, :, :: self.fast_stride]
        frames = self._slow_frames(fast.shape[2], self.alpha)
        if isinstance(frames, range):
            return fast[:, :, frames.start : frames.stop : frames.step], fast
        # Not an index tensor, which would be sent to the device at each step.
        return torch.stack([fast[:, :, i] for i in frames], dim=2), fast

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), or logits, of clips, shape (B, channels, T, H, W)."""
        streams: Any = self.pathways(x)
        for block in self.blocks:
            streams = block(streams)
        out: Tensor = streams
        return out


class _Lateral(nn.Module):
    """From the fast pathway to the slow: a convolution whose stride over time is alpha."""

    def __init__(self, style: BlockStyle | None, dim_in: int, dim_out: int, kernel: int, alpha: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            dim_in, dim_out, (kernel, 1, 1), stride=(alpha, 1, 1), padding=(kernel // 2, 0, 0), bias=False
        )
        self.norm = make_norm(style.norm, dim_out, "norm") if style and style.norm else nn.Identity()
        self.activation = style.act() if style else nn.Identity()

    def forward(self, fast: Tensor) -> Tensor:
        out: Tensor = self.activation(self.norm(self.conv_fast_to_slow(fast)))
        return out


class _Stage(nn.Module):
    """A stage of both pathways; behind it the slow one has the features of the fast one beside its own."""

    def __init__(self, slow: nn.Module, fast: nn.Module, lateral: nn.Module | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = lateral
        self.depth = len(getattr(slow, "res_blocks", (slow,)))

    def forward(self, streams: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        slow, fast = (block(x) for block, x in zip(self.multipathway_blocks, streams, strict=True))
        if self.multipathway_fusion is not None:
            slow = torch.cat([slow, self.multipathway_fusion(fast)], dim=1)
        return slow, fast


class _PoolAndJoin(nn.Module):
    """The average of each pathway over time and space, side by side."""

    def forward(self, streams: tuple[Tensor, Tensor]) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3, 4)) for x in streams], dim=1)


def create_slowfast(
    *,
    model_depth: int = 50,
    alpha: int = 4,
    fast_stride: int = 1,
    slow_frames: str = "stride",
    beta_inv: int = 8,
    lateral_kernel: int = 5,
    lateral_ratio: int = 2,
    lateral_norm: bool = True,
    input_channel: int = 3,
    stem_dim_out: int = 64,
    norm: str = "bn_3D",
    activation: str = "relu",
    convolution: str | Mapping[str, Any] = "plain",
    num_classes: int = 0,
    dropout: float = 0.5,
) -> SlowFast:
    """Build a SlowFast network.

    A clip of 32 frames is 8 for the slow pathway with `alpha` 4 ("8 x 8" at a sampling rate of 2), 4 with `alpha` 8
    ("4 x 16"). With `fast_stride` 2, `alpha` 8 and 64 frames the slow pathway sees every 16th frame, the fast one
    every 2nd.

    Args:
        model_depth: 50 or 101.
        alpha: How many frames of the fast pathway there are for one of the slow one; the stride of the lateral
            connections over time.
        fast_stride: The fast pathway sees every so many-th frame of the clip.
        slow_frames: Which of these the slow pathway sees: every alpha-th (`stride`, the paper), or as many from the
            first to the last (`spread`, PySlowFast; weights of it and of pytorchvideo were trained so).
        beta_inv: How many times as many channels the slow pathway has.
        lateral_kernel: Length over time, odd, of the kernels of the lateral connections.
        lateral_ratio: Channels of a lateral connection for one of the fast pathway.
        lateral_norm: Normalise and activate what the lateral connections give.
        input_channel: Channels of the clips.
        stem_dim_out: Channels of the slow stem, the width of the network.
        norm: `bn_3D` or `sync_bn`.
        activation: `relu` or `gelu`.
        convolution: What its 1 x 3 x 3 convolutions behind the stem are: `plain`, or `tada`, which begin as these and
            are calibrated for each frame (`{name: tada, reduction: 4, kernel_sizes: [3, 3]}`).
        num_classes: Length of the output; 0 gives the features, 2048 + 256.
        dropout: Dropout before the classifier.

    Raises:
        ConfigError: An unknown name or depth, or numbers that do not fit together.

    >>> network = create_slowfast(alpha=8, fast_stride=2, stem_dim_out=16)
    >>> network.num_features, network(torch.zeros(1, 3, 64, 32, 32)).shape
    (576, torch.Size([1, 576]))
    """
    _, depths = choose({depth: DEPTHS[depth] for depth in ("50", "101")}, str(model_depth), "model_depth")
    _check(stem_dim_out, beta_inv, lateral_kernel, num_classes, alpha=alpha, fast_stride=fast_stride)
    style = BlockStyle("bottleneck", norm, activation)

    def lateral(dim: int) -> _Lateral:
        fast = dim // beta_inv
        return _Lateral(style if lateral_norm else None, fast, fast * lateral_ratio, lateral_kernel, alpha)

    def stem(dim: int, frames: int) -> nn.Module:
        return make_stem(style, input_channel, dim, kernel=(frames, 7, 7))

    stages = [_Stage(stem(stem_dim_out, 1), stem(stem_dim_out // beta_inv, 5), lateral(stem_dim_out))]
    dim = stem_dim_out  # channels of the slow pathway, without what came from the fast one
    for i, depth in enumerate(depths):
        inner = stem_dim_out * 2**i
        common: dict[str, Any] = {"kernel_b": (1, 3, 3), "stride": (1, 1, 1) if i == 0 else (1, 2, 2)}
        dim_in = dim + dim // beta_inv * lateral_ratio
        slow = make_stage(style, depth, dim_in, inner, kernels_a=[_SLOW_KERNELS[i]], **common)
        fast = make_stage(style, depth, dim // beta_inv, inner // beta_inv, kernels_a=[(3, 1, 1)], **common)
        dim = inner * EXPANSION[style.block]
        stages.append(_Stage(slow, fast, lateral(dim) if i < len(depths) - 1 else None))
    network = SlowFast(
        stages,
        num_features=dim + dim // beta_inv,
        num_classes=num_classes,
        dropout=dropout,
        alpha=alpha,
        fast_stride=fast_stride,
        slow_frames=slow_frames,
    )
    replace_spatial_convs(network, convolution, network.get_param_layer_id)
    return network


def _check(stem_dim_out: int, beta_inv: int, lateral_kernel: int, num_classes: int, **positive: int) -> None:
    """Raise a ConfigError for numbers that make no network."""
    for key, value in {**positive, "beta_inv": beta_inv}.items():
        if value < 1:
            raise ConfigError(f"{key}={value}; expected a positive number.")
    if stem_dim_out < 1 or stem_dim_out % beta_inv:
        raise ConfigError(f"stem_dim_out={stem_dim_out} is no multiple of beta_inv={beta_inv}.")
    if lateral_kernel < 1 or lateral_kernel % 2 == 0:
        raise ConfigError(f"lateral_kernel={lateral_kernel}; expected an odd number.")
    checked_classes(num_classes)
