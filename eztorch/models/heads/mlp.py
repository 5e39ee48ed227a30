"""Multilayer perceptron head: the projectors and predictors of siamese methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor, nn

from eztorch.models.heads.linear import init_linear
from eztorch.modules.layers import make_activation, make_norm
from eztorch.utils.errors import ConfigError

T = TypeVar("T", int, float)


class MLPHead(nn.Module):
    """Linear layers, each but the last with a normalisation and an activation.

    A linear layer has no bias before a normalisation, whatever `bias` and `last_bias` say.

    Attributes:
        num_layers: Number of linear layers, for layer-wise learning rates.

    Args:
        activation_inplace: Write activations over their input, where they can.
        activation_layer: `relu` or `gelu`.
        affine: Whether the normalisations before the last layer have learnable scales and shifts.
        bias: Whether the layers before the last have biases.
        dropout: Probability to drop an input of a layer: one for all layers, or one for each.
        dropout_inplace: A hint of recipes that is not followed, with the same results: in place, a dropout would write
            over features of the caller, or over what the gradient of the ReLU before it needs.
        hidden_dims: Length of the output of each layer but the last: one for all, or a list of `num_layers - 1`.
        input_dim: Length C of the input.
        norm_layer: `bn_1D` or `sync_bn`; None for none.
        num_layers: Number of linear layers.
        last_bias: Whether the last layer has a bias.
        last_norm: Whether a normalisation follows the last layer.
        last_affine: Whether that one has learnable scales and shifts.
        output_dim: Length D of the output.
        last_init_normal: Draw the weights of the last layer from a normal distribution.
        init_mean: Mean of that distribution.
        init_std: Standard deviation of that distribution.
        zero_bias: Start with biases of 0 in the last layer, if `last_init_normal`.

    Raises:
        ConfigError: A list does not fit `num_layers`, or a last normalisation is asked for but none is named.

    >>> head = MLPHead(input_dim=8, hidden_dims=[16], num_layers=2, output_dim=4, norm_layer="bn_1D")
    >>> [type(layer).__name__ for layer in head.layers]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """

    def __init__(
        self,
        activation_inplace: bool = True,
        activation_layer: str = "relu",
        affine: bool = True,
        bias: bool = True,
        dropout: float | Sequence[float] = 0.0,
        dropout_inplace: bool = False,
        hidden_dims: int | Sequence[int] = 2048,
        input_dim: int = 2048,
        norm_layer: str | None = None,
        num_layers: int = 2,
        last_bias: bool = True,
        last_norm: bool = False,
        last_affine: bool = False,
        output_dim: int = 128,
        last_init_normal: bool = False,
        init_mean: float = 0.0,
        init_std: float = 0.01,
        zero_bias: bool = True,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f"num_layers={num_layers} of an MLPHead; expected a positive number.")
        if last_norm and norm_layer is None:
            raise ConfigError("last_norm=true needs a norm_layer; set norm_layer=bn_1D or last_norm=false.")
        self.input_dim, self.output_dim, self.num_layers = input_dim, output_dim, num_layers
        dims = [input_dim, *_one_each(hidden_dims, num_layers - 1, "hidden_dims", num_layers), output_dim]
        dropouts = _one_each(dropout, num_layers, "dropout", num_layers)
        self.layers = nn.Sequential()
        for i in range(num_layers):
            last = i == num_layers - 1
            norm = norm_layer if last_norm or not last else None
            if dropouts[i]:
                self.layers.append(nn.Dropout(dropouts[i]))
            linear = nn.Linear(dims[i], dims[i + 1], bias=(last_bias if last else bias) and norm is None)
            if last and last_init_normal:
                init_linear(linear, init_mean, init_std, zero_bias)
            self.layers.append(linear)
            if norm is not None:
                self.layers.append(make_norm(norm, dims[i + 1], "norm_layer", affine=last_affine if last else affine))
            if not last:
                self.layers.append(make_activation(activation_layer, "activation_layer", inplace=activation_inplace))

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; a normalisation belongs to the linear layer before it."""
        position = int(name.split(".")[1])
        return sum(isinstance(layer, nn.Linear) for layer in self.layers[: position + 1]) - 1

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map features, shape (B, C), or tokens, shape (B, ..., C), to outputs, shape (B, D) or (B, ..., D).

        Normalisations take every token as a row of the batch.
        """
        out: Tensor = self.layers(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
        return out


def _one_each(value: T | Sequence[T], number: int, key: str, num_layers: int) -> list[T]:
    """Return a list of `number` values from one value or from as many."""
    if not isinstance(value, Sequence):
        return [value] * number
    if len(value) != number:
        raise ConfigError(
            f"{key}={list(value)} with num_layers={num_layers}; expected {number} numbers, or a single one."
        )
    return list(value)
