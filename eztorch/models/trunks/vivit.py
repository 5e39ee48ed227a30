"""ViViT, model 2: a transformer over the places of each time, and one over the times (https://arxiv.org/abs/2103.15691)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.models.trunks.positions import resize_times
from eztorch.models.trunks.transformer import (
    POOLS,
    Transformer,
    blocks,
    checked_patch,
    classifier,
    init_transformer,
    of_size,
    patch_grid,
)
from eztorch.modules.freezing import keep_frozen
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose


class ViViT(Transformer):
    """A factorised encoder (section 3.3 of the paper): its tokens are one for each step in time.

    The encoder over space has the names of a vision transformer for images, whose weights load; tubelets begin as its
    patches by the loader's `inflation`, `centre` as in section 3.4 of the paper.

    Args:
        input_size: Frames, height and width that positions are learned for; those of other inputs are interpolated.
        patch: Sides of a tubelet.
        embed_dim: Length of a token.
        depth: Number of blocks over space.
        temporal_depth: Number of blocks over time.
        num_heads: Heads of an attention.
        mlp_ratio: Length inside a perceptron by that of a token.
        in_channels: Channels of the input.
        pool: What stands for a step in time, and at the end for the clip: a `token` of its own, or the `mean`.
        drop_path: Probability that a residual branch of the last block of each encoder is dropped.
        num_classes: Length of the output; 0 gives the features.
        freeze_spatial: Whether the encoder over space stays as it is, while that over time and the classifier learn
            (https://arxiv.org/abs/2306.04822).

    Raises:
        ConfigError: The sizes do not fit together.
    """

    def __init__(
        self,
        *,
        input_size: Sequence[int] = (32, 224, 224),
        patch: Sequence[int] = (2, 16, 16),
        embed_dim: int = 768,
        depth: int = 12,
        temporal_depth: int = 4,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        pool: str = "token",
        drop_path: float = 0.0,
        num_classes: int = 0,
        freeze_spatial: bool = False,
    ) -> None:
        if len(patch) != 3:
            raise ConfigError(f"patch={list(patch)}; ViViT takes clips: expected [time, height, width].")
        times, *places = patch_grid(input_size, checked_patch(patch))
        class_token = choose(POOLS, pool, "pool")
        super().__init__(
            patch=patch,
            embed_dim=embed_dim,
            num_heads=num_heads,
            in_channels=in_channels,
            class_token=class_token,
            places=tuple(places),
        )
        self.blocks = blocks(depth, embed_dim, num_heads, mlp_ratio, drop_path)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        over_time = blocks(temporal_depth, embed_dim, num_heads, mlp_ratio, drop_path)
        self.temporal = TemporalEncoder(over_time, embed_dim, times, class_token)
        self.head = classifier(embed_dim, num_classes)
        init_transformer(self)
        self.freeze_spatial = freeze_spatial
        self.train()

    def train(self, mode: bool = True) -> ViViT:
        """Set the mode; a frozen encoder stays in that of evaluation."""
        super().train(mode)
        if self.freeze_spatial:
            keep_frozen((self.patch_embed, self.blocks, self.norm))
            for parameter in (self.cls_token, self.pos_embed):
                if parameter is not None:
                    parameter.requires_grad_(False)
        return self

    def tokens(self, x: Tensor) -> Tensor:
        """Return a token for each of T' steps in time, shape (B, 1 + T', C), that of the clip before them."""
        patches, (times, *places) = self.patch_embed(x)
        frames = self._placed(patches.unflatten(1, (times, -1)).flatten(0, 1), tuple(places))
        tokens = self._with_class_token(frames)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        steps = tokens.mean(dim=1) if self.cls_token is None else tokens[:, 0]
        out: Tensor = self.temporal(steps.unflatten(0, (-1, times)))
        return out


class TemporalEncoder(nn.Module):
    """A transformer over the steps in time, with learned positions.

    Args:
        blocks: Its blocks.
        dim: Length C of a token.
        times: Number of steps that positions are learned for.
        class_token: Whether a token of its own stands before them.
    """

    def __init__(self, blocks: nn.ModuleList, dim: int, times: int, class_token: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self.time_embed = nn.Parameter(torch.empty(1, times, dim).normal_(std=0.02))
        self.blocks = blocks
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Map steps, shape (B, T, C), to their tokens, shape (B, T, C) or (B, 1 + T, C)."""
        x = x + resize_times(self.time_embed, x.shape[1]).to(x.dtype)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out


def create_vivit(name: str = "base", **options: Any) -> ViViT:
    """Build a ViViT of a known size.

    Args:
        name: `tiny`, `small`, `base`, `large` or `huge`, as in `create_vit`.
        **options: Further arguments of `ViViT`; they win over the size.

    Raises:
        ConfigError: The name or an option is not known, or the sizes do not fit together.

    >>> network = create_vivit("tiny", input_size=(4, 32, 32), depth=1, temporal_depth=1)
    >>> network(torch.zeros(1, 3, 4, 32, 32)).shape, network.tokens(torch.zeros(1, 3, 8, 48, 48)).shape
    (torch.Size([1, 192]), torch.Size([1, 5, 192]))
    """
    return of_size(ViViT, name, options)
