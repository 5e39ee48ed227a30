"""Heads that compare with prototypes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eztorch.models.heads import DINOHead, IBOTHead, PrototypeHead
from eztorch.utils.errors import ConfigError


def test_prototype_head__gives_cosines_whatever_the_lengths():
    torch.manual_seed(0)
    head, x = PrototypeHead(5, num_prototypes=7), torch.randn(3, 5)
    expected = torch.stack([F.cosine_similarity(row[None], head.weight, dim=1) for row in x])
    torch.testing.assert_close(head(x), expected)
    torch.testing.assert_close(head(4 * x), expected)
    with torch.no_grad():
        head.weight.mul_(torch.linspace(0.5, 3.0, 7)[:, None])
    torch.testing.assert_close(head(x), expected)


def test_prototype_head__prototypes_begin_on_the_sphere_and_learn():
    torch.manual_seed(0)
    head = PrototypeHead(5, num_prototypes=7)
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(7))
    head(torch.randn(3, 5)).square().sum().backward()
    assert head.weight.grad.abs().sum() > 0
    # Along its own direction a prototype has nothing to learn.
    torch.testing.assert_close((head.weight.grad * head.weight).sum(dim=1), torch.zeros(7), atol=1e-6, rtol=0)


def test_dino_head__is_a_perceptron_before_prototypes():
    torch.manual_seed(0)
    head = DINOHead(6, hidden_dim=8, bottleneck_dim=4, output_dim=10)
    linears = [module for module in head.mlp.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(6, 8), (8, 8), (8, 4)]
    x = y = torch.randn(3, 6)
    for number, layer in enumerate(linears):
        y = layer(y) if number == 2 else F.gelu(layer(y))
    torch.testing.assert_close(head(x), F.normalize(y, dim=1) @ F.normalize(head.prototypes.weight, dim=1).T)
    assert head.output_dim == 10


def test_dino_head__begins_with_small_weights_and_no_shift():
    torch.manual_seed(0)
    head = DINOHead(64, hidden_dim=256, bottleneck_dim=32, output_dim=10)
    for module in head.mlp.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.bias.abs().sum() == 0


def test_dino_head__has_normalisations_where_they_are_asked_for():
    plain, normed = (DINOHead(6, 8, 4, 10, norm_layer=norm) for norm in (None, "bn_1D"))
    assert not any(isinstance(module, nn.BatchNorm1d) for module in plain.modules())
    assert sum(isinstance(module, nn.BatchNorm1d) for module in normed.modules()) == 2
    with pytest.raises(ConfigError, match="norm_layer"):
        DINOHead(6, 8, 4, 10, norm_layer="bn")


@pytest.mark.parametrize("norm_layer", [None, "bn_1D"])
def test_dino_head__tells_the_layer_of_each_parameter(norm_layer):
    head = DINOHead(6, 8, 4, 10, num_layers=3, norm_layer=norm_layer)
    layers = {name: head.get_param_layer_id(name) for name, _ in head.named_parameters()}
    assert set(layers.values()) == {0, 1, 2, 3} == set(range(head.num_layers))
    assert layers["prototypes.weight"] == 3
    assert layers["mlp.layers.0.weight"] == 0
    head = PrototypeHead(4)
    assert [head.get_param_layer_id(name) for name, _ in head.named_parameters()] == [0] * head.num_layers


@pytest.mark.parametrize("shared", [True, False])
def test_ibot_head__scores_class_and_patch_tokens_with_the_same_prototypes_or_with_their_own(shared):
    torch.manual_seed(0)
    head = IBOTHead(6, shared=shared, hidden_dim=8, bottleneck_dim=4, output_dim=10)
    tokens = torch.randn(3, 5, 6)
    scores = head(tokens)
    torch.testing.assert_close(scores[:, 2], (head.class_head if shared else head.patch_head)(tokens[:, 2]))
    assert torch.allclose(scores[:, 2], head(tokens[:, 2])) == shared
    assert head(tokens[:, :0]).shape == (3, 0, 10)
    assert (head.input_dim, head.output_dim, head.num_layers) == (6, 10, 4)
    layers = {head.get_param_layer_id(name) for name, _ in head.named_parameters()}
    assert layers == set(range(4))
