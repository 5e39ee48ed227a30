import copy
import math

import pytest
import torch
from torch import nn

from eztorch.optimizers import LARS, lars
from eztorch.utils.errors import ConfigError

SHAPES = [(8, 3, 3, 3, 3), (8,), (16, 8), (16,), (), (4, 16), (1, 1)]


@torch.no_grad()
def reference_step(params, grads, buffers, *, lr, weight_decay, momentum, trust_coefficient):
    """One step of the formula, a parameter at a time."""
    for p, g, mu in zip(params, grads, buffers, strict=True):
        if g is None:
            continue
        if p.ndim > 1:
            d = g + weight_decay * p
            p_norm, d_norm = p.norm(), d.norm()
            d = d * (trust_coefficient * p_norm / d_norm if p_norm > 0 and d_norm > 0 else 1.0)
        else:
            d = g
        mu.copy_(momentum * mu + d)
        p.copy_(p - lr * mu)


def make_params(shapes=SHAPES, dtype=torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def make_grads(step: int, shapes=SHAPES, dtype=torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def run_both(steps, grads_of=make_grads, *, dtype=torch.float32, **options):
    """Return the parameters and buffers of LARS and of the reference after some steps on the same gradients."""
    params = make_params(dtype=dtype)
    expected = [p.detach().clone() for p in params]
    buffers = [torch.zeros_like(p) for p in expected]
    optimizer = LARS(params, **options)
    for step in range(steps):
        grads = grads_of(step)
        for p, g in zip(params, grads, strict=True):
            p.grad = None if g is None else g.clone()
        optimizer.step()
        reference_step(expected, grads, buffers, **options)
    return params, [optimizer.state[p].get("mu") for p in params], expected, buffers


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_lars__equals_the_per_parameter_reference_over_ten_steps(weight_decay, momentum):
    options = {"lr": 0.8, "weight_decay": weight_decay, "momentum": momentum, "trust_coefficient": 0.02}
    params, buffers, expected, expected_buffers = run_both(10, **options)
    for mine, reference in zip([*params, *buffers], [*expected, *expected_buffers], strict=True):
        torch.testing.assert_close(mine.detach(), reference, rtol=2e-6, atol=2e-7)
    assert not torch.equal(params[0].detach(), make_params()[0].detach())


def test_lars__small_buckets_change_nothing(monkeypatch):
    options = {"lr": 0.8, "weight_decay": 1e-2, "momentum": 0.9, "trust_coefficient": 0.02}
    whole = run_both(3, **options)[0]
    monkeypatch.setattr(lars, "_CPU_BUCKET_SIZE", 130)
    for mine, reference in zip(run_both(3, **options)[0], whole, strict=True):
        assert torch.equal(mine, reference)


def test_lars__vectors_and_scalars_have_neither_weight_decay_nor_trust():
    vector, scalar = nn.Parameter(torch.full((3,), 2.0)), nn.Parameter(torch.tensor(2.0))
    vector.grad, scalar.grad = torch.ones(3), torch.tensor(1.0)
    LARS([vector, scalar], lr=0.5, weight_decay=10.0, trust_coefficient=1e-3).step()
    assert vector.tolist() == [1.5] * 3
    assert scalar.item() == 1.5


@pytest.mark.parametrize(("weight", "grad"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_lars__a_norm_of_zero_leaves_the_update_unscaled(weight, grad):
    p = nn.Parameter(torch.full((2, 2), weight))
    p.grad = torch.full((2, 2), grad)
    LARS([p], lr=0.5, trust_coefficient=1e-3).step()
    assert torch.equal(p.detach(), torch.full((2, 2), weight - 0.5 * grad))


def test_lars__leaves_the_gradients_as_they_are():
    params = make_params()
    grads = make_grads(0)
    for p, g in zip(params, grads, strict=True):
        p.grad = g.clone()
    LARS(params, lr=0.1, weight_decay=0.5).step()
    assert all(torch.equal(p.grad, g) for p, g in zip(params, grads, strict=True))


def test_lars__skips_parameters_without_a_gradient():
    def grads_of(step):
        return [None if (i + step) % 3 == 0 else g for i, g in enumerate(make_grads(step))]

    options = {"lr": 0.3, "weight_decay": 1e-2, "momentum": 0.9, "trust_coefficient": 0.02}
    params, _, expected, _ = run_both(4, grads_of, **options)
    for mine, reference in zip(params, expected, strict=True):
        torch.testing.assert_close(mine.detach(), reference, rtol=2e-6, atol=2e-7)


def test_lars__takes_sparse_gradients():
    dense, sparse = (nn.Embedding(6, 3, sparse=flag) for flag in (False, True))
    sparse.load_state_dict(dense.state_dict())
    for embedding in (dense, sparse):
        optimizer = LARS(embedding.parameters(), lr=0.5, weight_decay=0.1)
        embedding(torch.tensor([1, 1, 4])).pow(2).sum().backward()
        optimizer.step()
    torch.testing.assert_close(sparse.weight, dense.weight)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3), (torch.float64, 1e-12)]
)
def test_lars__keeps_the_dtype_of_each_parameter(dtype, tolerance):
    options = {"lr": 0.5, "weight_decay": 1e-2, "momentum": 0.9, "trust_coefficient": 0.02}
    shapes = [(8, 4), (8,)]
    params = [*make_params(shapes, dtype), *make_params(shapes)]
    expected = [p.detach().double() for p in params]
    buffers = [torch.zeros_like(p) for p in expected]
    optimizer = LARS(params, **options)
    for step in range(3):
        for p, g in zip(params, [*make_grads(step, shapes, dtype), *make_grads(step, shapes)], strict=True):
            p.grad = g
        reference_step(expected, [p.grad.double() for p in params], buffers, **options)
        optimizer.step()
    for p, reference in zip(params, expected, strict=True):
        scale = tolerance if p.dtype == dtype else 1e-6
        torch.testing.assert_close(p.detach().double(), reference, rtol=scale, atol=scale)
    assert [p.dtype for p in params] == [dtype, dtype, torch.float32, torch.float32]


def test_lars__norms_of_half_precision_do_not_overflow():
    p = nn.Parameter(torch.full((64, 64), 2000.0, dtype=torch.float16))  # its norm is 128000, float16 ends at 65504
    p.grad = torch.full((64, 64), 1.0, dtype=torch.float16)
    LARS([p], lr=1.0, trust_coefficient=0.01).step()
    assert torch.equal(p.detach(), torch.full((64, 64), 1980.0, dtype=torch.float16))


def test_lars__updates_channels_last_tensors():
    shape = (8, 3, 2, 4, 4)
    plain, permuted = (nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0))) for _ in range(2))
    permuted.data = permuted.data.to(memory_format=torch.channels_last_3d)
    plain.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    permuted.grad = plain.grad.to(memory_format=torch.channels_last_3d)
    optimizer = LARS([plain, permuted], lr=0.5, weight_decay=0.1, trust_coefficient=0.1)
    optimizer.step()
    torch.testing.assert_close(permuted, plain)
    assert optimizer.state[permuted]["mu"].is_contiguous(memory_format=torch.channels_last_3d)


def test_lars__each_group_has_its_own_values():
    first, second = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    first.grad, second.grad = torch.ones(2, 2), torch.ones(2, 2)
    LARS([{"params": [first], "lr": 1.0}, {"params": [second], "trust_coefficient": 0.5}], lr=0.1).step()
    assert torch.allclose(first, torch.full((2, 2), 1 - 0.001))
    assert torch.allclose(second, torch.full((2, 2), 1 - 0.1 * 0.5))


def test_lars__resuming_from_its_state_changes_nothing():
    def steps(optimizer, params, numbers):
        for number in numbers:
            for p, g in zip(params, make_grads(number), strict=True):
                p.grad = g
            optimizer.step()

    options = {"lr": 0.3, "weight_decay": 1e-2, "trust_coefficient": 0.02}
    whole = make_params()
    steps(LARS(whole, **options), whole, range(6))

    begun = make_params()
    optimizer = LARS(begun, **options)
    steps(optimizer, begun, range(3))
    state = copy.deepcopy(optimizer.state_dict())
    assert {key for values in state["state"].values() for key in values} == {"mu"}
    resumed = [nn.Parameter(p.detach().clone()) for p in begun]
    optimizer = LARS(resumed, **options)
    optimizer.load_state_dict(state)
    steps(optimizer, resumed, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole, strict=True))


def test_lars__calls_the_closure_with_gradients_on():
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = LARS([p], lr=1.0)

    def closure():
        optimizer.zero_grad()
        loss = p.pow(2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert torch.allclose(p, torch.full((2, 2), 0.999))


def test_lars__works_with_a_gradient_scaler():
    scaled, plain = (nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for p in (scaled, plain):
        optimizer = LARS([p], lr=1.0, weight_decay=0.1)
        loss = (p * torch.arange(6.0).view(3, 2)).sum()
        if p is scaled:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
        else:
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(scaled, plain)

    scaler.update()
    before = scaled.detach().clone()
    optimizer = LARS([scaled], lr=1.0)
    scaled.grad = None
    scaler.scale((scaled * math.inf).sum()).backward()
    scaler.step(optimizer)
    assert torch.equal(scaled.detach(), before)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "momentum", "trust_coefficient"])
def test_lars__a_negative_value_is_an_error(name):
    with pytest.raises(ConfigError, match=f"{name}=-1.0 must not be negative"):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 0.1, name: -1.0})


def test_lars__a_momentum_of_one_is_an_error():
    with pytest.raises(ConfigError, match="momentum=1 must be below 1"):
        LARS([nn.Parameter(torch.ones(1))], lr=0.1, momentum=1)
