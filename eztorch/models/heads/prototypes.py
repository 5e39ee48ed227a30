"""Heads that compare features with learned prototypes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.heads.mlp import MLPHead


class PrototypeHead(nn.Module):
    """Cosines of features with prototypes, as in SwAV (https://arxiv.org/abs/2006.09882) and the last layer of DINO.

    Features and prototypes are compared by their directions alone.

    Args:
        input_dim: D, length of the features.
        num_prototypes: K.

    Attributes:
        weight: The prototypes, shape (K, D).
    """

    num_layers = 1

    def __init__(self, input_dim: int, num_prototypes: int = 3000) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.num_prototypes = self.output_dim = num_prototypes
        self.weight = nn.Parameter(F.normalize(torch.randn(num_prototypes, input_dim), dim=1))

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter: there is one."""
        return 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosines, shape (B, K), of features, shape (B, D)."""
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Describe the head in the printout of a model."""
        return f"input_dim={self.input_dim}, num_prototypes={self.num_prototypes}"


class DINOHead(nn.Module):
    """Perceptron, then cosines with prototypes: the projector of DINO (https://arxiv.org/abs/2104.14294, appendix C).

    Args:
        input_dim: Length of the input.
        hidden_dim: Length between the layers of the perceptron.
        bottleneck_dim: Length of its output.
        output_dim: Number of prototypes.
        num_layers: Layers of the perceptron.
        norm_layer: `bn_1D` for convolutional trunks; None for none.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        output_dim: int = 65536,
        num_layers: int = 3,
        norm_layer: str | None = None,
    ) -> None:
        super().__init__()
        self.input_dim, self.output_dim, self.num_layers = input_dim, output_dim, num_layers + 1
        self.mlp = MLPHead(
            input_dim=input_dim,
            hidden_dims=hidden_dim,
            output_dim=bottleneck_dim,
            num_layers=num_layers,
            norm_layer=norm_layer,
            activation_layer="gelu",
        )
        for module in self.mlp.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.prototypes = PrototypeHead(bottleneck_dim, output_dim)

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; the prototypes are the last."""
        part, _, rest = name.partition(".")
        return self.mlp.get_param_layer_id(rest) if part == "mlp" else self.num_layers - 1

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map features, shape (B, C), to cosines with the prototypes, shape (B, K)."""
        out: Tensor = self.prototypes(self.mlp(x))
        return out


class IBOTHead(nn.Module):
    """Scores of class tokens and of patch tokens: the projector of iBOT (https://arxiv.org/abs/2111.07832, section 3).

    Args:
        input_dim: Length of the input.
        shared: Both kinds of tokens have the same prototypes, as in iBOT; False for a head each, as in DINOv2.
        **options: Further arguments of `DINOHead`.
    """

    def __init__(self, input_dim: int, *, shared: bool = True, **options: Any) -> None:
        super().__init__()
        self.class_head = DINOHead(input_dim, **options)
        self.patch_head = None if shared else DINOHead(input_dim, **options)
        self.input_dim, self.output_dim = input_dim, self.class_head.output_dim
        self.num_layers = self.class_head.num_layers

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; both heads have the same layers."""
        return self.class_head.get_param_layer_id(name.partition(".")[2])

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map class tokens, shape (B, C), to scores, shape (B, K), and patch tokens, (B, M, C), to (B, M, K)."""
        if x.ndim == 2:
            scores: Tensor = self.class_head(x)
        else:
            scores = (self.patch_head or self.class_head)(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return scores
