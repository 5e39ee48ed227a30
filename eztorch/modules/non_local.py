"""Non-local blocks: every place of a clip looks at every other (https://arxiv.org/abs/1711.07971)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.modules.layers import make_norm, triple
from eztorch.utils.names import choose


def softmax_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Return the values weighted by the softmax of scaled products ("embedded Gaussian").

    Args:
        theta: Queries, shape (B, C, N).
        phi: Keys, shape (B, C, M).
        g: Values, shape (B, C, M).

    Returns:
        Shape (B, C, N).
    """
    queries, keys, values = (part.transpose(1, 2) for part in (theta, phi, g))
    return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2)


def product_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """Return the values weighted by the products divided by their number M; shapes as in `softmax_attention`.

    Values and keys are multiplied first, so that no matrix of N x M is made.
    """
    out: Tensor = (g @ phi.transpose(1, 2)) @ theta / phi.shape[2]
    return out


_ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": softmax_attention,
    "dot_product": product_attention,
}


class NonLocal(nn.Module):
    """Attention over all places of a clip as a residual, which is nothing at the start: the block is the identity.

    Args:
        dim: Channels C of the feature maps; half of them inside.
        attention: `softmax` (of products divided by the root of the channels) or `dot_product`.
        pool: Window of a max-pooling (T, H, W) of what is looked at; all ones for none.
        norm: Normalisation of the residual, whose weights begin at 0; None for an output convolution that does.

    Raises:
        ConfigError: An unknown name, or a window without three numbers.
    """

    def __init__(
        self,
        dim: int,
        *,
        attention: str = "softmax",
        pool: Sequence[int] = (1, 2, 2),
        norm: str | None = "bn_3D",
    ) -> None:
        super().__init__()
        self.attention = choose(_ATTENTIONS, attention, "attention")
        window = triple(pool, "pool")
        inner = max(dim // 2, 1)
        self.conv_theta = nn.Conv3d(dim, inner, 1)
        self.conv_phi = nn.Conv3d(dim, inner, 1)
        self.conv_g = nn.Conv3d(dim, inner, 1)
        self.conv_out = nn.Conv3d(inner, dim, 1)
        self.pool = nn.MaxPool3d(window) if max(window) > 1 else nn.Identity()
        self.norm = nn.Identity() if norm is None else make_norm(norm, dim, "norm")
        last: nn.Module = self.conv_out if norm is None else self.norm
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps, shape (B, C, T, H, W), to such."""
        seen = self.pool(x)
        theta, phi, g = (part.flatten(2) for part in (self.conv_theta(x), self.conv_phi(seen), self.conv_g(seen)))
        residual: Tensor = self.norm(self.conv_out(self.attention(theta, phi, g).unflatten(2, x.shape[2:])))
        return x + residual
