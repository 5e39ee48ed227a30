"""Linear head."""

from __future__ import annotations

from torch import Tensor, nn

from eztorch.modules.layers import make_norm


class LinearHead(nn.Module):
    """Dropout, linear layer, normalisation.

    Attributes:
        num_layers: 1, for layer-wise learning rates.

    Args:
        affine: Whether the normalisation has learnable scales and shifts.
        bias: Whether the linear layer has a bias; it never has one before a normalisation.
        dropout: Probability to drop an input feature.
        dropout_inplace: A hint of recipes that is not followed, with the same results: in place, the dropout would
            write over features of the caller.
        input_dim: Length C of the input.
        norm_layer: `bn_1D` or `sync_bn` after the linear layer; None for none.
        output_dim: Length D of the output.
        init_normal: Draw the weights from a normal distribution rather than torch's uniform one.
        init_mean: Mean of that distribution.
        init_std: Standard deviation of that distribution.
        zero_bias: Start with biases of 0, if `init_normal`.
    """

    num_layers = 1

    def __init__(
        self,
        affine: bool = True,
        bias: bool = True,
        dropout: float = 0.0,
        dropout_inplace: bool = False,
        input_dim: int = 2048,
        norm_layer: str | None = None,
        output_dim: int = 1000,
        init_normal: bool = True,
        init_mean: float = 0.0,
        init_std: float = 0.01,
        zero_bias: bool = True,
    ) -> None:
        super().__init__()
        self.input_dim, self.output_dim = input_dim, output_dim
        linear = nn.Linear(input_dim, output_dim, bias=bias and norm_layer is None)
        if init_normal:
            init_linear(linear, init_mean, init_std, zero_bias)
        self.layers = nn.Sequential()
        if dropout:
            self.layers.append(nn.Dropout(dropout))
        self.layers.append(linear)
        if norm_layer is not None:
            self.layers.append(make_norm(norm_layer, output_dim, "norm_layer", affine=affine))

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        return 0

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map features, shape (B, C), to outputs, shape (B, D)."""
        out: Tensor = self.layers(x)
        return out


def init_linear(linear: nn.Linear, mean: float, std: float, zero_bias: bool) -> None:
    """Draw the weights of a linear layer from a normal distribution; zero its bias if asked for."""
    nn.init.normal_(linear.weight, mean=mean, std=std)
    if zero_bias and linear.bias is not None:
        nn.init.zeros_(linear.bias)
