import pytest
import torch
from torch import nn

from eztorch.modules.non_local import NonLocal
from eztorch.utils.errors import ConfigError


def slow_non_local(block, x, attention):
    """The block place by place: y_i = sum_j f(x_i, x_j) g(x_j), then the output convolution and the residual."""

    def project(conv, maps):
        weight = conv.weight.flatten(1)
        return torch.stack([weight @ place + conv.bias for place in maps.flatten(1).T])

    out = []
    for sample in x:
        seen = nn.functional.max_pool3d(sample, block.pool.kernel_size) if attention == "softmax" else sample
        theta, phi, g = project(block.conv_theta, sample), project(block.conv_phi, seen), project(block.conv_g, seen)
        places = []
        for query in theta:
            products = torch.stack([query.dot(key) for key in phi])
            if attention == "softmax":
                weights = (products / len(query) ** 0.5).exp()
                weights = weights / weights.sum()
            else:
                weights = products / len(phi)
            places.append(sum(weight * value for weight, value in zip(weights, g, strict=True)))
        maps = block.conv_out.weight.flatten(1) @ torch.stack(places).T + block.conv_out.bias[:, None]
        out.append(sample + maps.view(sample.shape))
    return torch.stack(out)


@pytest.mark.parametrize(("attention", "pool"), [("softmax", (1, 2, 2)), ("dot_product", (1, 1, 1))])
def test_non_local__equals_a_sum_over_all_places(attention, pool):
    block = NonLocal(6, attention=attention, pool=pool, norm=None)
    nn.init.normal_(block.conv_out.weight)
    x = torch.randn(2, 6, 2, 4, 4)
    torch.testing.assert_close(block(x), slow_non_local(block, x, attention), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["bn_3D", None])
def test_non_local__is_the_identity_at_the_start_and_learns(norm):
    block = NonLocal(4, norm=norm)
    x = torch.randn(3, 4, 2, 4, 4)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    block(x).square().sum().backward()
    last = block.conv_out if norm is None else block.norm
    assert last.weight.grad.abs().sum() > 0  # it leaves the identity with the first step
    with torch.no_grad():
        last.weight.add_(last.weight.grad)
    assert not torch.allclose(block(x), x)


def test_non_local__halves_the_channels_inside():
    block = NonLocal(8)
    assert {block.conv_theta.out_channels, block.conv_phi.out_channels, block.conv_g.out_channels} == {4}
    assert NonLocal(1)(torch.zeros(2, 1, 1, 2, 2)).shape == (2, 1, 1, 2, 2)


def test_non_local__names_what_cannot_be_used():
    with pytest.raises(ConfigError, match=r"attention='sofmax' is not known.*Did you mean 'softmax'"):
        NonLocal(4, attention="sofmax")
    with pytest.raises(ConfigError, match="pool=2; expected three"):
        NonLocal(4, pool=2)
