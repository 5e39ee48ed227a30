"""What transformers over patches are made of, and what those for images and clips have in common.

Names of the parameters are those of timm's vision transformers, where these have the part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.trunks.layers import layer_ids
from eztorch.models.trunks.parts import checked_classes
from eztorch.models.trunks.positions import resize_grid
from eztorch.utils.config import call
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

T = TypeVar("T", bound="Transformer")

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "huge": {"embed_dim": 1280, "depth": 32, "num_heads": 16},
}
POOLS = {"mean": False, "token": True}  # whether there is a class token


class Transformer(nn.Module, ABC):
    """What transformers over patches have in common: tokens of patches, and a class token before them if there is one.

    Attributes:
        num_features: Length C of the features.
        patch: Sides of a patch: (height, width), or (time, height, width).

    Args:
        patch: Sides of a patch: two numbers for images, three for clips.
        embed_dim: Length of a token.
        num_heads: Heads of an attention.
        in_channels: Channels of the input.
        class_token: Whether the features are a token of their own; else they are the mean of the others.
        places: Grid of the places that learn a position; None for none.

    Raises:
        ConfigError: The sizes do not fit together.
    """

    head: nn.Linear | None

    def __init__(
        self,
        *,
        patch: Sequence[int],
        embed_dim: int,
        num_heads: int,
        in_channels: int,
        class_token: bool,
        places: tuple[int, ...] | None,
    ) -> None:
        super().__init__()
        self.patch = checked_patch(patch)
        if embed_dim % num_heads:
            raise ConfigError(f"num_heads={num_heads} does not divide embed_dim={embed_dim}.")
        self.num_features, self.in_channels, self.places = embed_dim, in_channels, places
        self.patch_embed = PatchEmbedding(self.patch, in_channels, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.pos_embed = None
        if places is not None:
            count = int(torch.Size(places).numel()) + class_token
            self.pos_embed = nn.Parameter(torch.zeros(1, count, embed_dim))

    @abstractmethod
    def tokens(self, x: Tensor) -> Tensor:
        """Return the tokens after the last block, shape (B, N, C), the class token before them where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), or logits, of images, (B, 3, H, W), or clips, (B, 3, T, H, W)."""
        tokens = self.tokens(x)
        features = tokens[:, 0] if self.cls_token is not None else tokens.mean(dim=1)
        return features if self.head is None else self.head(features)

    def grid(self, x: Tensor) -> tuple[int, ...]:
        """Return the number of patches along each side of an input.

        Raises:
            ConfigError: The input is no multiple of the patch.
        """
        return patch_grid(x.shape[2:], self.patch)

    @property
    def num_layers(self) -> int:
        """Number of layers for layer-wise learning rates: the patch embedding, each block, and the classifier."""
        return 1 + max(self._layer_ids.values())

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter: the embedding is 0, then come the blocks; `norm` belongs to the last."""
        return self._layer_ids[name]

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @cached_property
    def _layer_ids(self) -> dict[str, int]:
        return layer_ids((name for name, _ in self.named_parameters()), r"(?:temporal\.)?blocks\.\d+|head")

    def _placed(self, patches: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Add their learned positions to patches of a grid, shape (B, N, C)."""
        assert self.pos_embed is not None
        assert self.places is not None
        learned = self.pos_embed[:, 0 if self.cls_token is None else 1 :]
        return patches + resize_grid(learned, self.places, grid).to(patches.dtype)

    def _with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the class token, with its position if these are learned, before the tokens of each sample."""
        if self.cls_token is None:
            return tokens
        token = self.cls_token if self.pos_embed is None else self.cls_token + self.pos_embed[:, :1]
        return torch.cat([token.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)


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
        self.drop_path = DropPath(drop_path)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens, shape (B, N, C), to tokens."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class DropPath(nn.Module):
    """Drop whole samples of a residual branch in training (stochastic depth, https://arxiv.org/abs/1603.09382).

    Args:
        rate: Probability that a sample is dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map the branch, shape (B, N, C), to itself, scaled, or to 0."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(keep).div_(keep)


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


def blocks(depth: int, dim: int, num_heads: int, mlp_ratio: float, drop_path: float) -> nn.ModuleList:
    """Return blocks whose residual branches are dropped with a probability that grows from 0 to `drop_path`."""
    return nn.ModuleList(Block(dim, num_heads, mlp_ratio, rate) for rate in drop_rates(depth, drop_path))


def of_size(network: type[T], name: str, options: Mapping[str, Any]) -> T:
    """Build a transformer of a known size.

    Args:
        network: Its class.
        name: A size of `SIZES`.
        options: Further arguments of the class; they win over the size.

    Raises:
        ConfigError: The name or an option is not known, or the sizes do not fit together.
    """
    return call(network.__name__, network, **{**choose(SIZES, name, "name"), **options})


def drop_rates(depth: int, last: float) -> list[float]:
    """Return the probability of each block to drop a branch.

    >>> drop_rates(3, 0.1)
    [0.0, 0.05, 0.1]
    """
    return [last * i / max(depth - 1, 1) for i in range(depth)]


def classifier(dim: int, num_classes: int) -> nn.Linear | None:
    """Return the layer from features to logits, None where features are wanted.

    Raises:
        ConfigError: A negative number of classes.
    """
    return nn.Linear(dim, num_classes) if checked_classes(num_classes) else None


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


def init_transformer(network: nn.Module) -> None:
    """Initialise as ViT does: Xavier for linear layers and the patch embedding, biases 0, the rest N(0, 0.02^2)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, parameter in network.named_parameters():
        if name.endswith(("_token", "pos_embed")):
            nn.init.normal_(parameter, std=0.02)
