"""TimeSformer with divided attention: over time, then over space, in every block (https://arxiv.org/abs/2102.05095)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.models.trunks.positions import resize_times
from eztorch.models.trunks.transformer import (
    MLP,
    Attention,
    DropPath,
    Transformer,
    checked_patch,
    classifier,
    drop_rates,
    init_transformer,
    of_size,
    patch_grid,
)
from eztorch.utils.errors import ConfigError


class TimeSformer(Transformer):
    """A vision transformer for clips that begins as one for images.

    Names of the parameters are those of the authors' code. The layer behind the attention over time begins at 0, so
    that, with weights of a vision transformer for images, frames are seen one by one at first. Where such weights come
    alone, the attention over time has a copy of those over space.

    Args:
        input_size: Frames, height and width that positions are learned for; those of other inputs are interpolated.
        patch: Sides of a patch, of which the first, over time, is 1 in the paper.
        embed_dim: Length of a token.
        depth: Number of blocks.
        num_heads: Heads of an attention.
        mlp_ratio: Length inside a perceptron by that of a token.
        in_channels: Channels of the input.
        drop_path: Probability that a residual branch of the last block is dropped; it grows from 0 with the depth.
        num_classes: Length of the output; 0 gives the features.

    Raises:
        ConfigError: The sizes do not fit together.
    """

    def __init__(
        self,
        *,
        input_size: Sequence[int] = (8, 224, 224),
        patch: Sequence[int] = (1, 16, 16),
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        in_channels: int = 3,
        drop_path: float = 0.0,
        num_classes: int = 0,
    ) -> None:
        if len(patch) != 3:
            raise ConfigError(f"patch={list(patch)}; TimeSformer takes clips: expected [time, height, width].")
        times, *places = patch_grid(input_size, checked_patch(patch))
        super().__init__(
            patch=patch,
            embed_dim=embed_dim,
            num_heads=num_heads,
            in_channels=in_channels,
            class_token=True,
            places=tuple(places),
        )
        self.time_embed = nn.Parameter(torch.zeros(1, times, embed_dim))
        rates = drop_rates(depth, drop_path)
        self.blocks = nn.ModuleList(DividedBlock(embed_dim, num_heads, mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = classifier(embed_dim, num_classes)
        init_transformer(self)
        for module in self.modules():
            if isinstance(module, DividedBlock):
                nn.init.zeros_(module.temporal_fc.weight)
        self.register_load_state_dict_pre_hook(_with_temporal_weights)

    def tokens(self, x: Tensor) -> Tensor:
        """Return the class token and those of the T' N patches, one time after another, shape (B, 1 + T' N, C)."""
        patches, (times, *places) = self.patch_embed(x)
        frames = self._placed(patches.unflatten(1, (times, -1)).flatten(0, 1), tuple(places))
        moments = resize_times(self.time_embed, times).to(frames.dtype)
        clips = frames.unflatten(0, (-1, times)) + moments[:, :, None]
        tokens = self._with_class_token(clips.flatten(1, 2))
        for block in self.blocks:
            tokens = block(tokens, times)
        normed: Tensor = self.norm(tokens)
        return normed


class DividedBlock(nn.Module):
    """Attention over time at each place, attention over space at each time, and a perceptron (section 3 of the paper).

    The class token is not part of the attention over time. Every frame gives it an answer, and it takes their mean.

    Args:
        dim: Length of a token.
        num_heads: Heads of an attention.
        mlp_ratio: Length inside the perceptron by that of a token.
        drop_path: Probability that a residual branch is dropped in training.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.temporal_norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.temporal_attn = Attention(dim, num_heads)
        self.temporal_fc = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, times: int) -> Tensor:
        """Map a class token and the tokens of patches, shape (B, 1 + T N, C), to the same."""
        token, patches = x[:, :1], x[:, 1:].unflatten(1, (times, -1))
        moved = self._over_time(patches.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], -1))
        patches = patches + moved.transpose(1, 2)
        frames = torch.cat([token[:, None].expand(-1, times, -1, -1), patches], dim=2).flatten(0, 1)
        seen = self.drop_path(self.attn(self.norm1(frames))).unflatten(0, (-1, times))
        token = token + seen[:, :, 0].mean(dim=1, keepdim=True)
        x = torch.cat([token, (patches + seen[:, :, 1:]).flatten(1, 2)], dim=1)
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out

    def _over_time(self, rows: Tensor) -> Tensor:
        """Return what the tokens of a place, shape (B N, T, C), learn from each other."""
        out: Tensor = self.temporal_fc(self.drop_path(self.temporal_attn(self.temporal_norm1(rows))))
        return out


def _with_temporal_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add the attention over time, as that over space, to a state dict of a network for images."""
    if any(".temporal_" in name for name in state if name.startswith(prefix)):
        return
    for name in list(state):
        if found := re.fullmatch(rf"({re.escape(prefix)}blocks\.\d+\.)((?:attn|norm1)\..+)", name):
            state[f"{found[1]}temporal_{found[2]}"] = state[name]


def create_timesformer(name: str = "base", **options: Any) -> TimeSformer:
    """Build a TimeSformer of a known size.

    Args:
        name: `tiny`, `small`, `base`, `large` or `huge`, as in `create_vit`.
        **options: Further arguments of `TimeSformer`; they win over the size.

    Raises:
        ConfigError: The name or an option is not known, or the sizes do not fit together.

    >>> network = create_timesformer("tiny", input_size=(4, 32, 32), depth=1)
    >>> network(torch.zeros(1, 3, 4, 32, 32)).shape, network.tokens(torch.zeros(1, 3, 2, 32, 48)).shape
    (torch.Size([1, 192]), torch.Size([1, 13, 192]))
    """
    return of_size(TimeSformer, name, options)
