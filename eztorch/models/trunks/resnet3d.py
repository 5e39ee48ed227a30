"""3D residual networks: R3D, the slow pathway of SlowFast, C2D and I3D differ in kernels and in one pooling alone.

Papers: SlowFast, https://arxiv.org/abs/1812.03982; ResNet, https://arxiv.org/abs/1512.03385; I3D,
https://arxiv.org/abs/1705.07750; C2D and non-local blocks, https://arxiv.org/abs/1711.07971. Without arguments it is
the slow pathway of SlowFast: no stride over time, temporal kernels in late stages. The bottleneck networks are
pytorchvideo's, parameter names included, so that checkpoints of those load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from eztorch.models.trunks.convolutions import replace_spatial_convs
from eztorch.models.trunks.inflation import load_inflated
from eztorch.models.trunks.res_blocks3d import DEPTHS, EXPANSION, BlockStyle, make_stage, make_stem
from eztorch.models.trunks.resnet import create_resnet
from eztorch.models.trunks.video_head_model import create_video_head_model
from eztorch.modules.layers import Triple, triple
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

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
        stages: Residual blocks of each stage, under the name `res_blocks`.
        num_features: Channels of the last block.
        stage1_pool: Pooling after the first stage; None for none.
    """

    def __init__(
        self, stem: nn.Module, stages: Sequence[nn.Module], num_features: int, stage1_pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(stem, *stages)
        if stage1_pool is not None:
            self.blocks.insert(2, stage1_pool)
        self.num_features = num_features
        depths = [len(getattr(block, "res_blocks", ())) for block in self.blocks]
        self.num_layers = 1 + sum(depths)
        self._first_layers = [1 + sum(depths[:i]) for i in range(len(depths))]

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to: 0 for the stem, then the residual blocks one by one."""
        _, stage, *rest = name.split(".")
        return 0 if stage == "0" else self._first_layers[int(stage)] + int(rest[1])

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
    stage1_pool: Sequence[int] | None = None,
    non_local: Sequence[Sequence[int]] = ((), (), (), ()),
    pretrained_2d: bool | str = False,
    inflation: str = "mean",
    convolution: str | Mapping[str, Any] = "plain",
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
        stage_conv_a_kernel_size: Kernel of the first convolution of a block: (T, H, W), or for each of the four stages
            one of these or a list of them that its blocks take in turn. None for the kind's own: in the first two
            stages (1, 3, 3) of basic blocks and (1, 1, 1) of bottlenecks, in the last two (3, 3, 3) and (3, 1, 1).
        stage_conv_b_kernel_size: Kernel of the second convolution, likewise.
        stage_spatial_h_stride: Stride of each stage over the height.
        stage_spatial_w_stride: Stride of each stage over the width.
        stage_temporal_stride: Stride of each stage over time.
        stage1_pool: Window and stride (T, H, W) of a max-pooling after the first stage, None for none.
        non_local: For each of the four stages the numbers, from 0, of the blocks that a non-local block follows.
        pretrained_2d: Begin with the weights of torchvision's network for images of the same depth, inflated: True for
            `IMAGENET1K_V1`, or the name of others (see `create_resnet`).
        inflation: How kernels get their length over time: `mean` or `centre` (see `inflate_weight`).
        convolution: What its 1 x 3 x 3 convolutions behind the stem are: `plain`, or `tada`, which begin as these and
            are calibrated for each frame (`{name: tada, reduction: 4, kernel_sizes: [3, 3]}`).
        head: Module, or spec of one, that takes the feature maps; None to return them.

    Returns:
        `ResNet3d` from clips (B, input_channel, T, H, W) to feature maps (B, C, T', H', W'); with a head, a
        `VideoHeadModel` of the two.

    Raises:
        ConfigError: An unknown name or depth, or a size that does not have as many numbers as it needs.

    >>> create_resnet3d_basic(model_depth=18, stem_dim_out=8).num_features
    64
    """
    default_block, depths = choose(DEPTHS, str(model_depth), "model_depth")
    block = default_block if block is None else block
    expansion = choose(EXPANSION, block, "block")
    style = BlockStyle(block, norm, activation)
    stem = make_stem(
        style,
        input_channel,
        stem_dim_out,
        kernel=stem_conv_kernel_size,
        stride=stem_conv_stride,
        pool=stem_pool,
        pool_kernel=stem_pool_kernel_size,
        pool_stride=stem_pool_stride,
    )
    kernels_a = _in_turn(stage_conv_a_kernel_size or _CONV_A_KERNELS[block], "stage_conv_a_kernel_size")
    kernels_b = _per_stage(stage_conv_b_kernel_size, "stage_conv_b_kernel_size")
    strides = _strides(stage_temporal_stride, stage_spatial_h_stride, stage_spatial_w_stride)
    after = _checked_non_local(non_local, depths)
    stages, dim_in = [], stem_dim_out
    for i, depth in enumerate(depths):
        dim_inner = stem_dim_out * 2**i
        stage = make_stage(
            style,
            depth,
            dim_in,
            dim_inner,
            kernels_a=kernels_a[i],
            kernel_b=kernels_b[i],
            stride=strides[i],
            non_local=after[i],
        )
        stages.append(stage)
        dim_in = dim_inner * expansion
    pool = None if stage1_pool is None else nn.MaxPool3d(triple(stage1_pool, "stage1_pool"))
    model = ResNet3d(stem, stages, num_features=dim_in, stage1_pool=pool)
    if pretrained_2d:
        images = create_resnet(f"resnet{model_depth}", num_classes=0, pretrained=pretrained_2d)
        load_inflated(model, images.state_dict(), inflation)
    replace_spatial_convs(model, convolution, model.get_param_layer_id)
    return model if head is None else create_video_head_model(model, head)


def _per_stage(kernels: Sequence[Any], key: str) -> list[Triple]:
    """Return the kernel of each of the four stages; a single one serves them all."""
    return [triple(kernel, name) for name, kernel in _four(kernels, key)]


def _in_turn(kernels: Sequence[Any], key: str) -> list[list[Triple]]:
    """Return the kernels that the blocks of each stage take in turn."""
    found = []
    for name, kernel in _four(kernels, key):
        several = isinstance(kernel, Sequence) and len(kernel) > 0 and not isinstance(kernel[0], int)
        found.append([triple(one, name) for one in (kernel if several else [kernel])])
    return found


def _four(kernels: Sequence[Any], key: str) -> list[tuple[str, Any]]:
    """Return what is said of each stage, with its key for messages."""
    if all(isinstance(size, int) for size in kernels):
        return [(key, kernels)] * 4
    if len(kernels) != 4:
        raise ConfigError(f"{key}={kernels!r}; expected one kernel (T, H, W), or one for each of the 4 stages.")
    return [(f"{key}[{i}]", kernel) for i, kernel in enumerate(kernels)]


def _strides(time: Sequence[int], height: Sequence[int], width: Sequence[int]) -> list[Triple]:
    """Return the stride of each of the four stages."""
    named = {"stage_temporal_stride": time, "stage_spatial_h_stride": height, "stage_spatial_w_stride": width}
    for key, value in named.items():
        if len(value) != 4:
            raise ConfigError(f"{key}={value!r}; expected one number for each of the 4 stages.")
    return list(zip(time, height, width, strict=True))


def _checked_non_local(non_local: Sequence[Sequence[int]], depths: Sequence[int]) -> list[set[int]]:
    """Return the blocks of each stage that a non-local block follows."""
    if len(non_local) != 4:
        raise ConfigError(f"non_local={non_local!r}; expected a list of blocks for each of the 4 stages.")
    for i, (numbers, depth) in enumerate(zip(non_local, depths, strict=True)):
        if any(number not in range(depth) for number in numbers):
            raise ConfigError(f"non_local[{i}]={list(numbers)!r}; this stage has the blocks 0 to {depth - 1}.")
    return [set(numbers) for numbers in non_local]
