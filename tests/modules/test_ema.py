import pytest
import torch

from eztorch.modules import ema_update
from eztorch.utils.errors import ConfigError


def _tensors(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in [(3, 4), (5,), ()]]


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ema_update__equals_the_plain_loop(momentum, dtype):
    target, online = _tensors(dtype, seed=0), _tensors(dtype, seed=1)
    expected = [momentum * t + (1 - momentum) * o for t, o in zip(target, online, strict=True)]
    before = [o.clone() for o in online]
    ema_update(target, online, momentum)
    torch.testing.assert_close(target, expected)
    torch.testing.assert_close(online, before, rtol=0, atol=0)


def test_ema_update__ends_are_exact():
    online = _tensors(seed=1)
    for momentum, expected in ((0.0, online), (1.0, _tensors(seed=0))):
        target = _tensors(seed=0)
        ema_update(target, online, momentum)
        torch.testing.assert_close(target, expected, rtol=0, atol=0)


def test_ema_update__takes_several_dtypes_and_iterators():
    target = _tensors(torch.float32) + _tensors(torch.float64)
    online = _tensors(torch.float32, seed=1) + _tensors(torch.float64, seed=1)
    expected = [0.9 * t + 0.1 * o for t, o in zip(target, online, strict=True)]
    ema_update(iter(target), iter(online), 0.9)
    torch.testing.assert_close(target, expected)


def test_ema_update__writes_leaves_that_need_gradients():
    target, online = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    storage = target.weight.data_ptr()
    expected = 0.5 * target.weight.detach() + 0.5 * online.weight.detach()
    ema_update(target.parameters(), online.parameters(), 0.5)
    torch.testing.assert_close(target.weight.detach(), expected)
    assert target.weight.data_ptr() == storage
    assert target.weight.is_leaf
    assert target.weight.grad_fn is None


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_ema_update__names_a_momentum_out_of_range(momentum):
    with pytest.raises(ConfigError, match=f"momentum={momentum}"):
        ema_update(_tensors(), _tensors(), momentum)


def test_ema_update__refuses_tensors_that_do_not_pair_up():
    with pytest.raises(ValueError, match="3 target tensors cannot follow 2 online tensors"):
        ema_update(_tensors(), _tensors()[:2], 0.9)
    target = _tensors()
    with pytest.raises(ValueError, match=r"tensor 1: the target is \(5,\).*the online one \(1,\)"):
        ema_update(target, [torch.ones(3, 4), torch.ones(1), torch.ones(())], 0.9)
    torch.testing.assert_close(target, _tensors(), rtol=0, atol=0)  # nothing was moved by half
