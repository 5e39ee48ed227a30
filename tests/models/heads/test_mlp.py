import re

import pytest
import torch
from torch import nn

from eztorch.models.heads import MLPHead
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

SEED = {
    "_target_": "eztorch.models.heads.MLPHead",
    "activation_inplace": True,
    "activation_layer": "relu",
    "affine": True,
    "bias": False,
    "dropout": 0.0,
    "dropout_inplace": True,
    "norm_layer": "bn_1D",
    "last_bias": False,
    "last_affine": False,
    "output_dim": 256,
}
PROJECTOR = {**SEED, "hidden_dims": [1024, 1024], "input_dim": 512, "num_layers": 3, "last_norm": True}
PREDICTOR = {**SEED, "hidden_dims": [1024], "input_dim": 256, "num_layers": 2, "last_norm": False}


def _types(head):
    return [type(layer) for layer in head.layers]


def test_mlp_head__builds_the_seed_projector():
    head = build(PROJECTOR)
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert _types(head) == [*block, *block, nn.Linear, nn.BatchNorm1d]
    assert [(m.in_features, m.out_features, m.bias) for m in head.layers if isinstance(m, nn.Linear)] == [
        (512, 1024, None),
        (1024, 1024, None),
        (1024, 256, None),
    ]
    assert [m.affine for m in head.layers if isinstance(m, nn.BatchNorm1d)] == [True, True, False]
    assert (head.input_dim, head.output_dim, head.num_layers) == (512, 256, 3)
    assert head(torch.randn(4, 512)).shape == (4, 256)


def test_mlp_head__builds_the_seed_predictor():
    head = build(PREDICTOR)
    assert _types(head) == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert all(m.bias is None for m in head.layers if isinstance(m, nn.Linear))


def test_mlp_head__computes_the_plain_formula():
    head = MLPHead(input_dim=3, hidden_dims=5, num_layers=3, output_dim=2, activation_layer="gelu").double()
    x = torch.randn(4, 3, dtype=torch.float64)
    first, second, third = (m for m in head.layers if isinstance(m, nn.Linear))
    gelu = nn.functional.gelu
    hidden = gelu(gelu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(head(x), hidden @ third.weight.T + third.bias)


@pytest.mark.parametrize("dropout", [0, 0.0, [0, 0.0]])
def test_mlp_head__no_dropout_is_no_layer(dropout):
    assert _types(MLPHead(input_dim=3, hidden_dims=5, output_dim=2, dropout=dropout)) == [nn.Linear, nn.ReLU, nn.Linear]


def test_mlp_head__dropout_of_each_layer():
    head = MLPHead(input_dim=3, hidden_dims=[5], output_dim=2, dropout=[0.1, 0.3])
    assert _types(head) == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [m.p for m in head.layers if isinstance(m, nn.Dropout)] == [0.1, 0.3]


def test_mlp_head__never_writes_over_its_input():
    head = MLPHead(input_dim=64, hidden_dims=8, output_dim=2, dropout=0.5, dropout_inplace=True)
    x = torch.ones(8, 64)
    head(x).sum().backward()
    torch.testing.assert_close(x, torch.ones(8, 64), rtol=0, atol=0)


def test_mlp_head__biases():
    def biases(**arguments):
        head = MLPHead(input_dim=3, hidden_dims=5, output_dim=2, **arguments)
        return [m.bias is not None for m in head.layers if isinstance(m, nn.Linear)]

    assert biases() == [True, True]
    assert biases(bias=False) == [False, True]
    assert biases(last_bias=False) == [True, False]
    assert biases(norm_layer="bn_1D") == [False, True]  # off before a normalisation
    assert biases(norm_layer="bn_1D", last_norm=True) == [False, False]


def test_mlp_head__initialises_the_last_layer_on_demand():
    torch.manual_seed(0)
    head = MLPHead(input_dim=50, hidden_dims=100, output_dim=100, last_init_normal=True, init_std=0.5)
    head.requires_grad_(False)
    assert float(head.layers[-1].weight.std()) == pytest.approx(0.5, rel=0.05)
    assert float(head.layers[-1].bias.abs().max()) == 0.0
    assert float(head.layers[0].weight.abs().max()) <= 50**-0.5


def test_mlp_head__one_layer_is_linear():
    assert _types(MLPHead(input_dim=3, num_layers=1, output_dim=2)) == [nn.Linear]


def test_mlp_head__layers_are_the_linear_ones():
    head = MLPHead(input_dim=3, hidden_dims=5, num_layers=3, output_dim=2, norm_layer="bn_1D", dropout=0.1)
    layers = {name: head.get_param_layer_id(name) for name, _ in head.named_parameters()}
    assert list(layers.values()) == sorted(layers.values())
    assert set(layers.values()) == set(range(head.num_layers))
    assert (layers["layers.1.weight"], layers["layers.2.weight"], layers["layers.5.weight"]) == (0, 0, 1)
    assert head.learnable_params == list(head.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_dims": [5, 5]}, re.escape("hidden_dims=[5, 5] with num_layers=2; expected 1 numbers")),
        ({"dropout": [0.1]}, re.escape("dropout=[0.1] with num_layers=2; expected 2 numbers")),
        ({"num_layers": 0}, "num_layers=0"),
        ({"last_norm": True}, "last_norm=true needs a norm_layer"),
        ({"activation_layer": "glu"}, "activation_layer='glu' is not known"),
        ({"norm_layer": "ln"}, "norm_layer='ln' is not known"),
    ],
)
def test_mlp_head__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MLPHead(**{"input_dim": 3, "output_dim": 2, "hidden_dims": 5, **arguments})


@pytest.mark.parametrize("training", [True, False])
def test_mlp_head__maps_tokens_as_rows_of_the_batch(training):
    torch.manual_seed(0)
    first, second = (MLPHead(input_dim=3, hidden_dims=5, output_dim=2, norm_layer="bn_1D") for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 6, 3)
    tokens, rows = first.train(training)(x), second.train(training)(x.reshape(24, 3))
    assert tokens.shape == (4, 6, 2)
    torch.testing.assert_close(tokens.reshape(24, 2), rows)
    torch.testing.assert_close(first.state_dict(), second.state_dict())
