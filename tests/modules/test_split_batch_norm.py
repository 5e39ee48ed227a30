import pytest
import torch
from torch import nn

from eztorch.modules import SplitBatchNorm1d, SplitBatchNorm2d, SplitBatchNorm3d, convert_to_split_batch_norm
from eztorch.utils.errors import ConfigError

KINDS = [
    pytest.param(nn.BatchNorm1d, SplitBatchNorm1d, (), id="1d"),
    pytest.param(nn.BatchNorm1d, SplitBatchNorm1d, (5,), id="1d-length"),
    pytest.param(nn.BatchNorm2d, SplitBatchNorm2d, (4, 5), id="2d"),
    pytest.param(nn.BatchNorm3d, SplitBatchNorm3d, (2, 4, 5), id="3d"),
]


def _filled(layer, seed=0):
    """Give a layer parameters and statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            if tensor is not None:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return layer


@pytest.mark.parametrize(("plain", "split", "size"), KINDS)
@pytest.mark.parametrize("affine", [True, False])
def test_split_batch_norm__equals_a_layer_for_each_split(plain, split, size, affine):
    x = (torch.randn(12, 3, *size) * 2 + 1).requires_grad_()
    layer = _filled(split(3, 4, affine=affine))
    layers = [_filled(plain(3, affine=affine)) for _ in range(4)]
    copy = x.detach().clone().requires_grad_()
    expected = torch.empty_like(x)
    for i, each in enumerate(layers):
        expected[i::4] = each(copy[i::4])
    out = layer(x)
    torch.testing.assert_close(out, expected)

    outer = torch.randn_like(out)
    out.backward(outer)
    expected.backward(outer)
    torch.testing.assert_close(x.grad, copy.grad)
    if affine:
        torch.testing.assert_close(layer.weight.grad, sum(each.weight.grad for each in layers))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(each, name) for each in layers]).mean(dim=0)
        torch.testing.assert_close(getattr(layer, name), mean)
    assert int(layer.num_batches_tracked) == 1


@pytest.mark.parametrize(("plain", "split", "size"), KINDS)
def test_split_batch_norm__in_evaluation_is_ordinary(plain, split, size):
    x = torch.randn(5, 3, *size)  # 5 rows: no split needs to divide them
    layer, reference = _filled(split(3, 4)).eval(), _filled(plain(3)).eval()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    torch.testing.assert_close(layer(x), reference(x))
    torch.testing.assert_close(dict(layer.state_dict()), before, rtol=0, atol=0)


def test_split_batch_norm__one_split_is_ordinary():
    x = torch.randn(6, 3)
    torch.testing.assert_close(SplitBatchNorm1d(3, 1)(x), nn.BatchNorm1d(3)(x))


def test_split_batch_norm__takes_inputs_that_are_not_contiguous():
    x = torch.randn(8, 4, 5, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(SplitBatchNorm2d(3, 2)(x), SplitBatchNorm2d(3, 2)(x.contiguous()))


def test_split_batch_norm__averages_cumulatively_without_momentum():
    layer, reference = SplitBatchNorm1d(3, 1, momentum=None), nn.BatchNorm1d(3, momentum=None)
    for _ in range(3):
        x = torch.randn(6, 3)
        layer(x)
        reference(x)
    torch.testing.assert_close(layer.running_mean, reference.running_mean)
    torch.testing.assert_close(layer.running_var, reference.running_var)


def test_split_batch_norm__without_running_statistics_uses_those_of_the_batch():
    layer = SplitBatchNorm1d(3, 2, track_running_stats=False)
    x = torch.randn(6, 3)
    layer(x)
    torch.testing.assert_close(layer.eval()(x), nn.BatchNorm1d(3)(x))


def test_split_batch_norm__tells_a_batch_that_does_not_divide():
    with pytest.raises(ConfigError, match="num_splits=4 does not divide a batch of 6 rows"):
        SplitBatchNorm1d(3, 4)(torch.randn(6, 3))
    with pytest.raises(ConfigError, match="num_splits=0"):
        SplitBatchNorm1d(3, 0)
    with pytest.raises(ValueError, match="SplitBatchNorm3d expects 5 dimensions; got 4"):
        SplitBatchNorm3d(3, 2)(torch.randn(2, 3, 4, 4))


def test_convert__replaces_every_kind_and_keeps_their_state():
    model = nn.Sequential(
        nn.Conv3d(3, 4, 1),
        _filled(nn.BatchNorm3d(4, eps=1e-3, momentum=0.2)),
        nn.Sequential(_filled(nn.BatchNorm2d(4, affine=False)), nn.BatchNorm1d(4, track_running_stats=False)),
    )
    model[2].eval()
    kept = [*model.parameters(), *model.buffers()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    converted = convert_to_split_batch_norm(model, 2)
    assert converted is model
    assert [type(m).__name__ for m in (model[1], model[2][0], model[2][1])] == [
        "SplitBatchNorm3d",
        "SplitBatchNorm2d",
        "SplitBatchNorm1d",
    ]
    assert [id(t) for t in (*model.parameters(), *model.buffers())] == [id(t) for t in kept]
    torch.testing.assert_close(dict(model.state_dict()), state, rtol=0, atol=0)
    assert (model[1].eps, model[1].momentum, model[1].num_splits) == (1e-3, 0.2, 2)
    assert model[1].training
    assert not model[2].training
    assert not model[2][0].training
    assert not model[2][1].training
    assert model[2][0].weight is None
    assert model[2][1].running_mean is None
    model[1](torch.randn(4, 4, 2, 2, 2)).sum().backward()


def test_convert__survives_the_conversion_to_sync_batch_norm():
    model = convert_to_split_batch_norm(nn.Sequential(nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm3d(4))), 2)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model[0], SplitBatchNorm1d)
    assert isinstance(model[1][0], SplitBatchNorm3d)


def test_convert__refuses_sync_batch_norm():
    with pytest.raises(ConfigError, match=r"trainer\.sync_batchnorm=false"):
        convert_to_split_batch_norm(nn.Sequential(nn.SyncBatchNorm(4)), 2)
