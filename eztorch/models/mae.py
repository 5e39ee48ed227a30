"""Masked autoencoders for images and clips.

Papers: https://arxiv.org/abs/2111.06377 (MAE), https://arxiv.org/abs/2203.12602 (VideoMAE).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from eztorch.losses.mae_loss import mae_loss, patchify, random_visible
from eztorch.models.pretext import PretextKeys, PretextModel
from eztorch.models.steps import apply_transform, seed_step
from eztorch.models.trunks.positions import sine_cosine_positions
from eztorch.models.trunks.transformer import Block, init_transformer
from eztorch.models.trunks.vit import VisionTransformer
from eztorch.utils.errors import ConfigError


@final
class MAEModel(PretextModel):
    """Restore hidden patches from the few that a vision transformer sees.

    Only visible tokens pass the trunk. A narrow decoder, which is thrown away after training, gets them with a learned
    token in every hidden place and gives the pixels of the hidden patches.

    Args:
        mask_ratio: Share of the patches that is hidden: 0.75 for images, 0.9 for clips.
        tube: Hide the same places at all times, for clips.
        normalise_targets: Restore patches of mean 0 and variance 1.
        decoder_dim: Length of a token in the decoder.
        decoder_depth: Blocks of the decoder.
        decoder_heads: Heads of its attentions.
        **keys: See `PretextModel`; the trunk is a `VisionTransformer`.

    Raises:
        ConfigError: A value is out of its range, or the trunk is not a `VisionTransformer`.
    """

    called: ClassVar = "a masked autoencoder"
    trunk: VisionTransformer

    def __init__(
        self,
        *,
        mask_ratio: float = 0.75,
        tube: bool = False,
        normalise_targets: bool = True,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        **keys: Unpack[PretextKeys],
    ) -> None:
        super().__init__(**keys)
        if not isinstance(self.trunk, VisionTransformer):
            raise ConfigError(
                f"model.trunk is a {type(self.trunk).__name__}; a masked autoencoder needs one that passes visible "
                "patches alone: eztorch.models.trunks.create_vit."
            )
        if tube and len(self.trunk.patch) != 3:
            raise ConfigError("tube=true is for clips; write a trunk.patch of three sides, or tube=false.")
        if not 0 < mask_ratio < 1:
            raise ConfigError(f"mask_ratio={mask_ratio}; expected a share between 0 and 1.")
        self.mask_ratio, self.tube, self.normalise_targets = mask_ratio, tube, normalise_targets
        self.decoder = MAEDecoder(self.trunk, embed_dim=decoder_dim, depth=decoder_depth, num_heads=decoder_heads)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss, the scalars, and the mean of the visible tokens of each sample, shape (B, C), as h.

        Raises:
            DataError: The batch has several views.
        """
        seed_step(self, batch_idx)
        x = self.one_view(apply_transform(self.train_transform, batch["input"]))
        grid = self.trunk.grid(x)
        visible, hidden = random_visible(len(x), grid, self.mask_ratio, tube=self.tube, device=x.device)
        tokens = self.trunk.tokens(x, visible)
        restored = self.decoder(tokens, visible, hidden, grid)
        patches = patchify(x, self.trunk.patch)
        target = patches.gather(1, hidden[:, :, None].expand(-1, -1, patches.shape[2]))
        loss = mae_loss(restored, target, normalise=self.normalise_targets)
        return {"loss": loss, "scalars": {"pretrain/loss": loss.detach()}, "h": tokens.detach().mean(dim=1)}


class MAEDecoder(nn.Module):
    """From visible tokens to the pixels of the hidden patches.

    Args:
        trunk: What makes the tokens; its patches are restored.
        embed_dim: Length of a token inside.
        depth: Number of blocks.
        num_heads: Heads of an attention.
    """

    def __init__(self, trunk: VisionTransformer, *, embed_dim: int, depth: int, num_heads: int) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ConfigError(f"decoder_heads={num_heads} does not divide decoder_dim={embed_dim}.")
        self.embed_dim = embed_dim
        self.class_tokens = 0 if trunk.cls_token is None else 1
        self.embed = nn.Linear(trunk.num_features, embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.pred = nn.Linear(embed_dim, trunk.in_channels * int(torch.tensor(trunk.patch).prod()))
        init_transformer(self)

    def forward(self, tokens: Tensor, visible: Tensor, hidden: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Return the pixels of the hidden patches, shape (B, M, P).

        Args:
            tokens: Of the visible patches, with a class token before them where the trunk has one, shape (B, V, C).
            visible: Indices of the visible patches, shape (B, V).
            hidden: Indices of the hidden ones, shape (B, M).
            grid: Patches along each side.
        """
        seen = self.embed(tokens)
        masked = self.mask_token.to(seen.dtype).expand(len(seen), hidden.shape[1], -1)
        positions = sine_cosine_positions(grid, self.embed_dim, seen.device).to(seen.dtype)
        places = positions[torch.cat([visible, hidden], dim=1)]
        x = torch.cat([seen[:, self.class_tokens :], masked], dim=1) + places
        x = torch.cat([seen[:, : self.class_tokens], x], dim=1)
        for block in self.blocks:
            x = block(x)
        pixels: Tensor = self.pred(self.norm(x[:, -hidden.shape[1] :]))
        return pixels
