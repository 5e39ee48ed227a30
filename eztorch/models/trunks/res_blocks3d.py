"""Stems, residual blocks and stages of 3D networks, with the parameter names of pytorchvideo's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from eztorch.modules.layers import Triple, make_activation, make_norm, make_pool, triple
from eztorch.modules.non_local import NonLocal

DEPTHS = {  # kind of block, blocks in each stage
    "10": ("basic", (1, 1, 1, 1)),
    "18": ("basic", (2, 2, 2, 2)),
    "34": ("basic", (3, 4, 6, 3)),
    "50": ("bottleneck", (3, 4, 6, 3)),
    "101": ("bottleneck", (3, 4, 23, 3)),
}
EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its inner channels


class BlockStyle(NamedTuple):
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
        """Build the activation."""
        return make_activation(self.activation, "activation", inplace=True)


class ResBlock(nn.Module):
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
        non_local: A non-local block follows.
    """

    def __init__(
        self,
        style: BlockStyle,
        dim_in: int,
        dim_inner: int,
        kernel_a: Triple,
        kernel_b: Triple,
        stride: Triple = (1, 1, 1),
        *,
        non_local: bool = False,
    ) -> None:
        super().__init__()
        dim_out = dim_inner * EXPANSION[style.block]
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
        self.non_local = NonLocal(dim_out, norm=style.norm) if non_local else None

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps, shape (B, dim_in, T, H, W), to such of the block's channels and strides."""
        out: Tensor = self.branch2(x)
        for layer in (self.branch1_conv, self.branch1_norm):
            x = x if layer is None else layer(x)
        activated: Tensor = self.activation(out.add_(x))
        return activated if self.non_local is None else self.non_local(activated)


def make_stem(
    style: BlockStyle,
    dim_in: int,
    dim_out: int,
    *,
    kernel: Sequence[int],
    stride: Sequence[int] = (1, 2, 2),
    pool: str | None = "max_pool_3d",
    pool_kernel: Sequence[int] = (1, 3, 3),
    pool_stride: Sequence[int] = (1, 2, 2),
) -> nn.Sequential:
    """Build a convolution with its normalisation and activation, and a pooling unless `pool` is None.

    Raises:
        ConfigError: An unknown name, or a size without three numbers.
    """
    stem = style.conv("", dim_in, dim_out, triple(kernel, "stem_conv_kernel_size"), triple(stride, "stem_conv_stride"))
    stem["activation"] = style.act()
    if pool is not None:
        window = triple(pool_kernel, "stem_pool_kernel_size")
        stem["pool"] = make_pool(
            pool, "stem_pool", kernel_size=window, stride=pool_stride, padding=[size // 2 for size in window]
        )
    return nn.Sequential(OrderedDict(stem))


def make_stage(
    style: BlockStyle,
    depth: int,
    dim_in: int,
    dim_inner: int,
    *,
    kernels_a: Sequence[Triple],
    kernel_b: Triple,
    stride: Triple,
    non_local: Collection[int] = (),
) -> nn.Sequential:
    """Build the residual blocks of a stage, under the name `res_blocks`; the first has the stride.

    Args:
        style: Kind of block, normalisation and activation.
        depth: Number of blocks.
        dim_in: Channels of the input.
        dim_inner: Channels inside the blocks.
        kernels_a: Kernels of the first convolutions, block by block; they repeat until all blocks have one.
        kernel_b: Kernel of the second convolutions.
        stride: Stride of the stage.
        non_local: Numbers of the blocks that a non-local block follows.
    """
    blocks = []
    for number in range(depth):
        first = number == 0
        block = ResBlock(
            style,
            dim_in if first else dim_inner * EXPANSION[style.block],
            dim_inner,
            kernels_a[number % len(kernels_a)],
            kernel_b,
            stride if first else (1, 1, 1),
            non_local=number in non_local,
        )
        blocks.append(block)
    return nn.Sequential(OrderedDict(res_blocks=nn.Sequential(*blocks)))
