"""Vision transformers for images and clips: the trunk of masked autoencoders and of any other method.

Papers: https://arxiv.org/abs/2010.11929 (ViT), https://arxiv.org/abs/2103.15691 (tubelets), https://arxiv.org/abs/2111.06377
(fixed sine-cosine positions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eztorch.models.trunks.positions import sequence_positions, sine_cosine_positions
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
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_POSITIONS: dict[str, Callable[..., Tensor] | None] = {
    "fixed": sine_cosine_positions,
    "sequence": sequence_positions,
    "learned": None,
}


class VisionTransformer(Transformer):
    """A transformer over the patches of an image or the tubelets of a clip.

    Positions are fixed sines and cosines, or learned for one size of input and interpolated to others, so any input
    whose sides are multiples of the patch fits.

    Attributes:
        num_features: Length C of the features.
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
        positions: `fixed`, of each side; `sequence`, fixed too, of the place in the sequence, as in VideoMAE's code; or
            `learned` as in ViT and DeiT, so that their weights give what they gave there.
        input_size: Sides of the input that positions are learned for, (H, W) or (T, H, W); others are interpolated.
        num_classes: Length of the output; 0 gives the features.
        mask_token: Whether there is a learned token for patches that are hidden (`tokens`).

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
        positions: str = "fixed",
        input_size: Sequence[int] | None = None,
        num_classes: int = 0,
        mask_token: bool = False,
    ) -> None:
        formula = choose(_POSITIONS, positions, "positions")
        if (formula is None) != (input_size is not None):
            raise ConfigError(
                f"positions={positions} and input_size={input_size}; learned positions, and no others, need the sides "
                "of the input that they are learned for, for example [224, 224]."
            )
        super().__init__(
            patch=patch,
            embed_dim=embed_dim,
            num_heads=num_heads,
            in_channels=in_channels,
            class_token=choose(POOLS, pool, "pool"),
            places=None if input_size is None else patch_grid(input_size, checked_patch(patch)),
        )
        self.positions, self._formula = positions, formula
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if mask_token else None
        self.blocks = blocks(depth, embed_dim, num_heads, mlp_ratio, drop_path)
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = classifier(embed_dim, num_classes)
        init_transformer(self)

    def tokens(self, x: Tensor, visible: Tensor | None = None, *, hidden: Tensor | None = None) -> Tensor:
        """Return the tokens after the last block.

        Args:
            x: Images or clips.
            visible: Indices of the patches that are looked at, shape (B, V); None for all N. No other passes a block.
            hidden: Which of the N patches the mask token stands for, bool, shape (B, N); None for none.

        Returns:
            Shape (B, V or N, C), with the class token before them where there is one.
        """
        patches, grid = self.patch_embed(x)
        if hidden is not None:
            assert self.mask_token is not None
            patches = torch.where(hidden[:, :, None], self.mask_token.to(patches.dtype), patches)
        if self._formula is not None:
            patches = patches + self._formula(grid, self.num_features, patches.device).to(patches.dtype)
        else:
            patches = self._placed(patches, grid)
        if visible is not None:
            patches = patches.gather(1, visible[:, :, None].expand(-1, -1, self.num_features))
        tokens = self._with_class_token(patches)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed


def create_vit(name: str = "base", *, patch: Sequence[int] = (16, 16), **options: Any) -> VisionTransformer:
    """Build a vision transformer of a known size.

    Args:
        name: `tiny`, `small`, `base`, `large` or `huge` (the tables of ViT and DeiT).
        patch: Sides of a patch: (16, 16) for images, (2, 16, 16) for clips as in VideoMAE.
        **options: Further arguments of `VisionTransformer`; they win over the size.

    Raises:
        ConfigError: The name or an option is not known, or the sizes do not fit together.

    >>> import torch
    >>> create_vit("tiny", patch=(2, 16, 16), depth=1)(torch.zeros(1, 3, 4, 32, 32)).shape
    torch.Size([1, 192])
    """
    return of_size(VisionTransformer, name, {"patch": patch, **options})
