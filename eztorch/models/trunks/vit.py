"""Vision transformers for images and clips: the trunk of masked autoencoders and of any other method.

Papers: https://arxiv.org/abs/2010.11929 (ViT), https://arxiv.org/abs/2103.15691 (tubelets), https://arxiv.org/abs/2111.06377
(fixed sine-cosine positions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_SIZES: dict[str, dict[str, int]] = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "huge": {"embed_dim": 1280, "depth": 32, "num_heads": 16},
}
_POOLS = {"mean": "mean", "token": "token"}


class VisionTransformer(nn.Module):
    """A transformer over the patches of an image or the tubelets of a clip.

    Names of the parameters are those of timm's, where it has the part. Positions are fixed sines and cosines, so that
    any input whose sides are multiples of the patch fits.

    Attributes:
        num_features: Length C of the features.
        num_layers: The patch embedding, each block, for layer-wise learning rates.
        patch: Sides of a patch: (height, width), or (time, height, width).

    Args:
        patch: Sides of a patch: two numbers for images, three for clips.
        embed_dim: Length of a token.
        depth: Number of blocks.
        num_heads: Heads of an attention.
        mlp_ratio: Length inside a perceptron by that of a token.
        in_channels: Channels of the input.
        pool: What the features are: the `mean` of the patch tokens, or a `token` of their own.
        drop_path: Probability that a residual branch of the last block is dropped; it grows from 0 with the depth.

    Raises:
        ConfigError: The sizes do not fit together.
    """

    def __init__(
        self,
        *,
        patch: Sequence[int] = (16, 16),
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        pool: str = "mean",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch = checked_patch(patch)
        if embed_dim % num_heads:
            raise ConfigError(f"num_heads={num_heads} does not divide embed_dim={embed_dim}.")
        self.num_features, self.num_layers = embed_dim, depth + 1
        self.in_channels = in_channels
        self.patch_embed = PatchEmbedding(self.patch, in_channels, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if choose(_POOLS, pool, "pool") == "token" else None
        rates = [drop_path * i / max(depth - 1, 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        init_transformer(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), of images, shape (B, 3, H, W), or clips, shape (B, 3, T, H, W)."""
        tokens = self.tokens(x)
        return tokens[:, 0] if self.cls_token is not None else tokens.mean(dim=1)

    def tokens(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return the tokens after the last block.

        Args:
            x: Images or clips.
            visible: Indices of the patches that are looked at, shape (B, V); None for all N. No other passes a block.

        Returns:
            Shape (B, V or N, C), with the class token before them where there is one.
        """
        patches, grid = self.patch_embed(x)
        patches = patches + sine_cosine_positions(grid, self.num_features, patches.device).to(patches.dtype)
        if visible is not None:
            patches = patches.gather(1, visible[:, :, None].expand(-1, -1, self.num_features))
        if self.cls_token is not None:
            patches = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1).to(patches.dtype), patches], dim=1)
        for block in self.blocks:
            patches = block(patches)
        normed: Tensor = self.norm(patches)
        return normed

    def grid(self, x: Tensor) -> tuple[int, ...]:
        """Return the number of patches along each side of an input.

        Raises:
            ConfigError: The input is no multiple of the patch.
        """
        return patch_grid(x.shape[2:], self.patch)

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter: the embedding is 0, then come the blocks; `norm` belongs to the last."""
        part, _, rest = name.partition(".")
        if part == "blocks":
            return 1 + int(rest.partition(".")[0])
        return self.num_layers - 1 if part == "norm" else 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())


def create_vit(name: str = "base", *, patch: Sequence[int] = (16, 16), **options: Any) -> VisionTransformer:
    """Build a vision transformer of a known size.

    Args:
        name: `tiny`, `small`, `base`, `large` or `huge` (the tables of ViT and DeiT).
        patch: Sides of a patch: (16, 16) for images, (2, 16, 16) for clips as in VideoMAE.
        **options: Further arguments of `VisionTransformer`; they win over the size.

    Raises:
        ConfigError: The name is not known, or the sizes do not fit together.

    >>> create_vit("tiny", patch=(2, 16, 16), depth=1)(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 192])
    """
    sizes: dict[str, Any] = dict(choose(_SIZES, name, "name"))
    return VisionTransformer(patch=patch, **{**sizes, **options})


class PatchEmbedding(nn.Module):
    """A linear map of each patch.

    Args:
        patch: Sides of a patch, two or three.
        in_channels: Channels of the input.
        embed_dim: Length of a token.
    """

    def __init__(self, patch: tuple[int, ...], in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.patch = patch
        convolution = nn.Conv2d if len(patch) == 2 else nn.Conv3d
        self.proj = convolution(in_channels, embed_dim, kernel_size=patch, stride=patch)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return tokens, shape (B, N, C), and the number of patches along each side."""
        grid = patch_grid(x.shape[2:], self.patch)
        return self.proj(x).flatten(2).transpose(1, 2), grid


class Block(nn.Module):
    """Attention and a perceptron, each with a normalisation before and a residual around it.

    Args:
        dim: Length of a token.
        num_heads: Heads of the attention.
        mlp_ratio: Length inside the perceptron by that of a token.
        drop_path: Probability that a sample skips a residual branch in training.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (B, N, C), to tokens."""
        x = x + self._dropped(self.attn(self.norm1(x)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * x.new_empty(len(x), 1, 1).bernoulli_(keep).div_(keep)


class Attention(nn.Module):
    """Self-attention over tokens.

    Args:
        dim: Length of a token.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (B, N, C), to tokens."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two layers with a GELU between them.

    Args:
        dim: Length of a token.
        hidden_dim: Length between the layers.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (B, N, C), to tokens."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def checked_patch(patch: Sequence[int]) -> tuple[int, ...]:
    """Return the sides of a patch.

    Raises:
        ConfigError: They are not two or three positive whole numbers.
    """
    if len(patch) not in (2, 3) or not all(isinstance(side, int) and side > 0 for side in patch):
        raise ConfigError(f"patch={list(patch)}; expected [height, width] for images, [time, height, width] for clips.")
    return tuple(patch)


def patch_grid(sides: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Return the number of patches along each side of an input.

    Raises:
        ConfigError: The input has other dimensions, or is no multiple of the patch.

    >>> patch_grid((4, 32, 32), (2, 16, 16))
    (2, 2, 2)
    """
    if len(sides) != len(patch) or any(side % part for side, part in zip(sides, patch, strict=True)):
        raise ConfigError(f"An input of {tuple(sides)} cannot be cut into patches of {tuple(patch)}.")
    return tuple(side // part for side, part in zip(sides, patch, strict=True))


def sine_cosine_positions(grid: Sequence[int], dim: int, device: torch.device | None = None) -> Tensor:
    """Return fixed positions of a grid, its sides encoded in equal parts of the token (MAE, appendix A.1).

    Along a side, position p has sin(p / 10000^(2 i / d)) and cos of the same, d the part of this side.

    Args:
        grid: Positions along each side.
        dim: Length of a token; what does not divide into pairs for every side stays 0.
        device: Where to.

    Returns:
        Shape (product of the grid, dim), float32.
    """
    pairs = dim // (2 * len(grid))
    rates = torch.exp(torch.arange(pairs, device=device) * (-math.log(10000.0) / pairs))
    axes = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing="ij")
    parts = [axis.reshape(-1, 1) * rates for axis in axes]
    encoded = torch.cat([part for angles in parts for part in (angles.sin(), angles.cos())], dim=1)
    return F.pad(encoded, (0, dim - encoded.shape[1]))


def init_transformer(network: nn.Module) -> None:
    """Initialise as ViT does: Xavier for linear layers and the patch embedding, biases 0, tokens N(0, 0.02^2)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, parameter in network.named_parameters():
        if name.endswith("_token"):
            nn.init.normal_(parameter, std=0.02)
