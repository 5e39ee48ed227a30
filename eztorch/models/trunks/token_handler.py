"""What a vision transformer gives to a method: its class token, its tokens, or one token for every step in time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eztorch.models.trunks.transformer import Transformer
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


class TokenHandler(nn.Module):
    """A transformer, and which of its tokens are the features.

    At most one of the four keys below is true; with none of them the features are all tokens but the class token, shape
    (B, N, C).

    Attributes:
        num_features: Length C of a token.
        num_layers: Layers of the transformer, for layer-wise learning rates.

    Args:
        transformer: The transformer.
        return_cls_token: The class token, shape (B, C); needs a transformer with `pool="token"`.
        return_cls_and_other_tokens: The class token and all others behind it, shape (B, 1 + N, C); needs the same.
        flatten_tokens: All other tokens as rows, those of a sample together, shape (B * N, C).
        average_tokens: The mean of all other tokens, shape (B, C).
        temporal: The other tokens are averaged over space first, so that N is the number of steps in time.

    Raises:
        ConfigError: Several keys are true, the transformer has no class token that one of them asks for, or its patches
            have no time.
    """

    def __init__(
        self,
        transformer: Transformer,
        *,
        return_cls_token: bool = False,
        return_cls_and_other_tokens: bool = False,
        flatten_tokens: bool = False,
        average_tokens: bool = False,
        temporal: bool = False,
    ) -> None:
        super().__init__()
        choices = {
            "return_cls_token": return_cls_token,
            "return_cls_and_other_tokens": return_cls_and_other_tokens,
            "flatten_tokens": flatten_tokens,
            "average_tokens": average_tokens,
        }
        chosen = [name for name, value in choices.items() if value]
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(chosen)} are true; at most one of {', '.join(choices)} can be.")
        if not isinstance(transformer, Transformer):
            raise ConfigError(
                f"transformer is a {type(transformer).__name__}; expected one that gives tokens, such as "
                "eztorch.models.trunks.create_vit."
            )
        if (return_cls_token or return_cls_and_other_tokens) and transformer.cls_token is None:
            raise ConfigError(
                f"{chosen[0]}=true, but the transformer has no class token; write transformer.pool=token."
            )
        if temporal and len(transformer.patch) != 3:
            raise ConfigError(
                f"Tokens in time are of clips, and transformer.patch={list(transformer.patch)} is one of images; "
                "write three numbers, the first for time."
            )
        self.transformer = transformer
        if transformer.head is not None:
            raise ConfigError("transformer.num_classes is not 0, and tokens pass no classifier; write 0.")
        self.num_features, self.num_layers = transformer.num_features, transformer.num_layers
        self.chosen = chosen[0] if chosen else None
        self.temporal = temporal

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of images, shape (B, 3, H, W), or clips, shape (B, 3, T, H, W)."""
        tokens = self.transformer.tokens(x)
        first = 0 if self.transformer.cls_token is None else 1
        if self.chosen == "return_cls_token":
            return tokens[:, 0]
        others = tokens[:, first:]
        if self.temporal:
            others = others.unflatten(1, (self.transformer.grid(x)[0], -1)).mean(dim=2)
        if self.chosen == "return_cls_and_other_tokens":
            return torch.cat([tokens[:, :1], others], dim=1)
        if self.chosen == "flatten_tokens":
            return others.flatten(0, 1)
        return others.mean(dim=1) if self.chosen == "average_tokens" else others

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return self.transformer.get_param_layer_id(name.removeprefix("transformer."))

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return self.transformer.learnable_params


def create_transformer_token_handler_model(
    transformer: Any,
    return_cls_token: bool = True,
    return_cls_and_other_tokens: bool = False,
    flatten_tokens: bool = False,
    average_tokens: bool = False,
) -> TokenHandler:
    """Build a transformer whose features are the class token or, with all keys false, its other tokens (B, N, C).

    Args:
        transformer: Vision transformer, or the spec of one.
        return_cls_token: See `TokenHandler`.
        return_cls_and_other_tokens: See `TokenHandler`.
        flatten_tokens: See `TokenHandler`.
        average_tokens: See `TokenHandler`.

    Raises:
        ConfigError: The keys do not fit together, or not the transformer.

    >>> from eztorch.models.trunks import create_vit
    >>> vit = create_vit("tiny", depth=1)
    >>> create_transformer_token_handler_model(vit, return_cls_token=False)(torch.zeros(2, 3, 32, 48)).shape
    torch.Size([2, 6, 192])
    """
    return TokenHandler(
        build(transformer),
        return_cls_token=return_cls_token,
        return_cls_and_other_tokens=return_cls_and_other_tokens,
        flatten_tokens=flatten_tokens,
        average_tokens=average_tokens,
    )


def create_vitransformer_token_handler_model(
    transformer: Any,
    return_cls_token: bool = True,
    return_cls_and_other_tokens: bool = False,
    flatten_tokens: bool = False,
    average_tokens: bool = False,
) -> TokenHandler:
    """Build the same for clips, with one token for every step in time, the average of those at its places.

    Args:
        transformer: Vision transformer over tubelets, or the spec of one.
        return_cls_token: See `TokenHandler`.
        return_cls_and_other_tokens: See `TokenHandler`.
        flatten_tokens: See `TokenHandler`.
        average_tokens: See `TokenHandler`.

    Raises:
        ConfigError: The keys do not fit together, or not the transformer.

    >>> from eztorch.models.trunks import create_vit
    >>> vit = create_vit("tiny", patch=(2, 16, 16), depth=1)
    >>> create_vitransformer_token_handler_model(vit, return_cls_token=False)(torch.zeros(2, 3, 8, 32, 48)).shape
    torch.Size([2, 4, 192])
    """
    return TokenHandler(
        build(transformer),
        return_cls_token=return_cls_token,
        return_cls_and_other_tokens=return_cls_and_other_tokens,
        flatten_tokens=flatten_tokens,
        average_tokens=average_tokens,
        temporal=True,
    )
