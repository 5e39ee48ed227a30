import pytest
import torch
from torch import nn

from eztorch.models.heads import LinearHead
from eztorch.utils.errors import ConfigError


def test_linear_head__is_a_linear_layer_with_small_normal_weights():
    torch.manual_seed(0)
    head = LinearHead(input_dim=512, output_dim=200)
    assert [type(layer) for layer in head.layers] == [nn.Linear]
    linear = head.layers[0].requires_grad_(False)
    assert float(linear.weight.std()) == pytest.approx(0.01, rel=0.02)
    assert float(linear.weight.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(linear.bias.abs().max()) == 0.0
    x = torch.randn(3, 512)
    torch.testing.assert_close(head(x), x @ linear.weight.T)
    assert (head.input_dim, head.output_dim, head.num_layers) == (512, 200, 1)
    assert {head.get_param_layer_id(name) for name, _ in head.named_parameters()} == {0}
    assert head.learnable_params == [linear.weight, linear.bias]


def test_linear_head__orders_dropout_linear_norm_without_bias():
    head = LinearHead(input_dim=4, output_dim=2, dropout=0.5, norm_layer="bn_1D", affine=False)
    assert [type(layer) for layer in head.layers] == [nn.Dropout, nn.Linear, nn.BatchNorm1d]
    assert head.layers[1].bias is None
    assert head.layers[2].weight is None


def test_linear_head__init_arguments():
    torch.manual_seed(0)
    linear = LinearHead(input_dim=100, output_dim=100, init_mean=1.0, init_std=0.5, zero_bias=False).layers[0]
    linear.requires_grad_(False)
    assert float(linear.weight.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(linear.weight.std()) == pytest.approx(0.5, rel=0.05)
    assert float(linear.bias.abs().max()) > 0
    uniform = LinearHead(input_dim=100, output_dim=100, init_normal=False).layers[0]
    assert float(uniform.weight.detach().abs().max()) <= 0.1  # torch's own: uniform up to 1 / sqrt(100)
    assert LinearHead(bias=False).layers[0].bias is None


def test_linear_head__never_writes_over_its_input():
    x = torch.ones(8, 64)
    LinearHead(input_dim=64, output_dim=2, dropout=0.5, dropout_inplace=True)(x)
    torch.testing.assert_close(x, torch.ones(8, 64), rtol=0, atol=0)


def test_linear_head__names_an_unknown_norm():
    with pytest.raises(ConfigError, match=r"norm_layer='bn_1d' is not known.*Did you mean 'bn_1D'"):
        LinearHead(norm_layer="bn_1d")
