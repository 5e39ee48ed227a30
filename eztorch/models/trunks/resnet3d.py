"""3D residual networks in the manner of SlowFast's slow pathway: no stride over time, temporal kernels in late stages.

Papers: SlowFast, https://arxiv.org/abs/1812.03982; ResNet, https://arxiv.org/abs/1512.03385. The bottleneck networks
are the Slow-R50 and Slow-R101 of pytorchvideo, parameter names included, so that checkpoints of those load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from eztorch.models.trunks.video_head_model import create_video_head_model
from eztorch.modules.layers import Triple, make_activation, make_norm, make_pool, triple
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_DEPTHS = {  # kind of block, blocks in each stage
    "10": ("basic", (1, 1, 1, 1)),
    "18": ("basic", (2, 2, 2, 2)),
    "34": ("basic", (3, 4, 6, 3)),
    "50": ("bottleneck", (3, 4, 6, 3)),
    "101": ("bottleneck", (3, 4, 23, 3)),
}
_EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its inner channels
_CONV_A_KERNELS: dict[str, tuple[Triple, ...]] = {
    "basic": ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
    "bottleneck": ((1, 1, 1), (1, 1, 1), (3, 1, 1), (3, 1, 1)),
}


class ResNet3d(nn.Module):
    """Stem and residual stages, from clips to feature maps; built by `create_resnet3d_basic`.

    Attributes:
        num_features: Channels C of the output.
        num_layers: Number of layers for layer-wise learning rates: the stem and each residual block.

    Args:
        stem: From clips, shape (B, input channels, T, H, W), to feature maps.
        stages: Residual blocks of each stage.
        num_features: Channels of the last block.
    """

    def __init__(self, stem: nn.Module, stages: Sequence[Sequence[nn.Module]], num_features: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(stem, *(nn.Sequential(OrderedDict(res_blocks=nn.Sequential(*s))) for s in stages))
        self.num_features = num_features
        self.num_layers = 1 + sum(len(stage) for stage in stages)
        self._first_layers = [1 + sum(len(stage) for stage in stages[:i]) for i in range(len(stages))]

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to: 0 for the stem, then the residual blocks one by one."""
        _, stage, *rest = name.split(".")
        return 0 if stage == "0" else self._first_layers[int(stage) - 1] + int(rest[1])

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Compute feature maps.

        Args:
            x: Clips, shape (B, input channels, T, H, W).

        Returns:
            Feature maps, shape (B, C, T', H', W').
        """
        out: Tensor = self.blocks(x)
        return out


class _Style(NamedTuple):
    """What the blocks of a network have in common."""

    block: str
    norm: str | None
    activation: str

    def conv(self, name: str, dim_in: int, dim_out: int, kernel: Triple, stride: Triple) -> dict[str, nn.Module]:
        """Build `conv<name>`, which keeps the size up to its stride, and `norm<name>`."""
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        layers: dict[str, nn.Module] = {
            f"conv{name}": nn.Conv3d(dim_in, dim_out, kernel, stride, padding, bias=self.norm is None)
        }
        if self.norm is not None:
            layers[f"norm{name}"] = make_norm(self.norm, dim_out, "norm")
        return layers

    def act(self) -> nn.Module:
        return make_activation(self.activation, "activation", inplace=True)


class _ResBlock(nn.Module):
    """Residual block: a shortcut (branch 1, with a projection where the shape changes) plus convolutions (branch 2).

    A basic block has its stride in the first convolution. A bottleneck has the temporal stride there, where it has its
    temporal kernel, and the spatial one in the second.

    Args:
        style: Kind of block, normalisation and activation.
        dim_in: Channels of the input.
        dim_inner: Channels inside the block; a bottleneck's output has four times as many.
        kernel_a: Kernel of the first convolution.
        kernel_b: Kernel of the second convolution.
        stride: Stride of the block.
    """

    def __init__(
        self, style: _Style, dim_in: int, dim_inner: int, kernel_a: Triple, kernel_b: Triple, stride: Triple
    ) -> None:
        super().__init__()
        dim_out = dim_inner * _EXPANSION[style.block]
        bottleneck = style.block == "bottleneck"
        stride_a, stride_b = ((stride[0], 1, 1), (1, *stride[1:])) if bottleneck else (stride, (1, 1, 1))
        branch2 = {
            **style.conv("_a", dim_in, dim_inner, kernel_a, stride_a),
            "act_a": style.act(),
            **style.conv("_b", dim_inner, dim_inner, kernel_b, stride_b),
        }
        if bottleneck:
            branch2 |= {"act_b": style.act(), **style.conv("_c", dim_inner, dim_out, (1, 1, 1), (1, 1, 1))}
        projected = dim_in != dim_out or stride != (1, 1, 1)
        branch1 = style.conv("", dim_in, dim_out, (1, 1, 1), stride) if projected else {}
        self.branch1_conv = branch1.get("conv")
        self.branch1_norm = branch1.get("norm")
        self.branch2 = nn.Sequential(OrderedDict(branch2))
        self.activation = style.act()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch2(x)
        for layer in (self.branch1_conv, self.branch1_norm):
            x = x if layer is None else layer(x)
        activated: Tensor = self.activation(out.add_(x))
        return activated


def create_resnet3d_basic(
    *,
    input_channel: int = 3,
    model_depth: int = 50,
    block: str | None = None,
    norm: str | None = "bn_3D",
    activation: str = "relu",
    stem_dim_out: int = 64,
    stem_conv_kernel_size: Sequence[int] = (1, 7, 7),
    stem_conv_stride: Sequence[int] = (1, 2, 2),
    stem_pool: str | None = "max_pool_3d",
    stem_pool_kernel_size: Sequence[int] = (1, 3, 3),
    stem_pool_stride: Sequence[int] = (1, 2, 2),
    stage_conv_a_kernel_size: Sequence[Any] | None = None,
    stage_conv_b_kernel_size: Sequence[Any] = (1, 3, 3),
    stage_spatial_h_stride: Sequence[int] = (1, 2, 2, 2),
    stage_spatial_w_stride: Sequence[int] = (1, 2, 2, 2),
    stage_temporal_stride: Sequence[int] = (1, 1, 1, 1),
    head: Any = None,
) -> nn.Module:
    """Build a 3D residual network.

    Depths 10, 18 and 34 have basic blocks and 8 x `stem_dim_out` features (512), 50 and 101 have bottlenecks and
    32 x `stem_dim_out` (2048). Small networks for small clips: a lower `stem_dim_out`, `stem_conv_stride` (1, 1, 1),
    no `stem_pool`.

    Args:
        input_channel: Channels of the clips.
        model_depth: 10, 18, 34, 50 or 101.
        block: `basic` or `bottleneck`, to use another kind of block than the depth says.
        norm: `bn_3D` or `sync_bn`; None for convolutions with biases in its place.
        activation: `relu` or `gelu`.
        stem_dim_out: Channels of the stem, the width of the network; each stage has twice the width of the one before.
        stem_conv_kernel_size: Kernel of the stem (T, H, W).
        stem_conv_stride: Stride of the stem (T, H, W).
        stem_pool: `max_pool_3d` or `avg_pool_3d` after the stem; None for no pooling.
        stem_pool_kernel_size: Window of that pooling (T, H, W).
        stem_pool_stride: Stride of that pooling (T, H, W).
        stage_conv_a_kernel_size: Kernel of the first convolution of a block: (T, H, W), or one of these for each of the
            four stages. None for the kind's own: in the first two stages (1, 3, 3) of basic blocks and (1, 1, 1) of
            bottlenecks, in the last two (3, 3, 3) and (3, 1, 1).
        stage_conv_b_kernel_size: Kernel of the second convolution, likewise.
        stage_spatial_h_stride: Stride of each stage over the height.
        stage_spatial_w_stride: Stride of each stage over the width.
        stage_temporal_stride: Stride of each stage over time.
        head: Module, or spec of one, that takes the feature maps; None to return them.

    Returns:
        `ResNet3d` from clips (B, input_channel, T, H, W) to feature maps (B, C, T', H', W'); with a head, a
        `VideoHeadModel` of the two.

    Raises:
        ConfigError: An unknown name or depth, or a size that does not have as many numbers as it needs.

    >>> create_resnet3d_basic(model_depth=18, stem_dim_out=8).num_features
    64
    """
    default_block, depths = choose(_DEPTHS, str(model_depth), "model_depth")
    block = default_block if block is None else block
    expansion = choose(_EXPANSION, block, "block")
    style = _Style(block, norm, activation)

    stem = style.conv(
        "",
        input_channel,
        stem_dim_out,
        triple(stem_conv_kernel_size, "stem_conv_kernel_size"),
        triple(stem_conv_stride, "stem_conv_stride"),
    )
    stem["activation"] = style.act()
    if stem_pool is not None:
        window = triple(stem_pool_kernel_size, "stem_pool_kernel_size")
        stem["pool"] = make_pool(
            stem_pool, "stem_pool", kernel_size=window, stride=stem_pool_stride, padding=[size // 2 for size in window]
        )

    own = _CONV_A_KERNELS[block]
    kernels_a = _per_stage(stage_conv_a_kernel_size or own, "stage_conv_a_kernel_size")
    kernels_b = _per_stage(stage_conv_b_kernel_size, "stage_conv_b_kernel_size")
    strides = _strides(stage_temporal_stride, stage_spatial_h_stride, stage_spatial_w_stride)
    stages, dim_in = [], stem_dim_out
    for i, depth in enumerate(depths):
        dim_inner = stem_dim_out * 2**i
        stage = []
        for number in range(depth):
            stride = strides[i] if number == 0 else (1, 1, 1)
            stage.append(_ResBlock(style, dim_in, dim_inner, kernels_a[i], kernels_b[i], stride))
            dim_in = dim_inner * expansion
        stages.append(stage)
    model = ResNet3d(nn.Sequential(OrderedDict(stem)), stages, num_features=dim_in)
    return model if head is None else create_video_head_model(model, head)


def _per_stage(kernels: Sequence[Any], key: str) -> list[Triple]:
    """Return the kernel of each of the four stages; a single one serves them all."""
    if all(isinstance(size, int) for size in kernels):
        return [triple(kernels, key)] * 4
    if len(kernels) != 4:
        raise ConfigError(f"{key}={kernels!r}; expected one kernel (T, H, W), or one for each of the 4 stages.")
    return [triple(kernel, f"{key}[{i}]") for i, kernel in enumerate(kernels)]


def _strides(time: Sequence[int], height: Sequence[int], width: Sequence[int]) -> list[Triple]:
    """Return the stride of each of the four stages."""
    named = {"stage_temporal_stride": time, "stage_spatial_h_stride": height, "stage_spatial_w_stride": width}
    for key, value in named.items():
        if len(value) != 4:
            raise ConfigError(f"{key}={value!r}; expected one number for each of the 4 stages.")
    return list(zip(time, height, width, strict=True))
