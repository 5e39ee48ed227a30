import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from eztorch.losses import sce_chance_level, sce_loss
from eztorch.utils.errors import ConfigError

TEMPS = {"temp": 0.1, "temp_m": 0.05}


def _features(number, dim=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(number, dim, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def _reference(query, key, temp, temp_m, coeff, queue=None, keys=None, keys_offset=0):
    """The papers' equations, one number at a time; autograd gives the gradient."""
    loss = 0.0
    for i in range(len(query)):
        negatives = [] if keys is None else [k for j, k in enumerate(keys) if j != keys_offset + i]
        negatives += [] if queue is None else list(queue)
        s = [torch.exp(key[i] @ k / temp_m) for k in negatives]
        s = [x / sum(s) for x in s]
        w = [coeff * 1.0 + (1 - coeff) * 0.0] + [coeff * 0.0 + (1 - coeff) * x for x in s]
        p = [torch.exp(query[i] @ k / temp) for k in (key[i], *negatives)]
        p = [x / sum(p) for x in p]
        loss = loss - sum(w_ik * torch.log(p_ik) for w_ik, p_ik in zip(w, p, strict=True))
    return loss / len(query)


@pytest.mark.parametrize("coeff", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize(
    ("with_queue", "with_keys"), [(True, False), (False, True), (True, True)], ids=["queue", "keys", "queue+keys"]
)
def test_sce_loss__equals_the_papers_equations(with_queue, with_keys, batch, coeff):
    query, key = _features(batch, seed=1).requires_grad_(), _features(batch, seed=2)
    parts = {"queue": _features(11, seed=3)} if with_queue else {}
    if with_keys:  # of three processes, this one is the second
        others = _features(2 * batch, seed=4)
        parts |= {"keys": torch.cat([others[:batch], key, others[batch:]]), "keys_offset": batch}
    loss = sce_loss(query, key, **TEMPS, coeff=coeff, **parts)
    expected = _reference(query, key, **TEMPS, coeff=coeff, **parts)
    torch.testing.assert_close(loss, expected)
    gradient, expected_gradient = (torch.autograd.grad(x * 2.5, query)[0] for x in (loss, expected))
    torch.testing.assert_close(gradient, expected_gradient)


def test_sce_loss__in_float32_is_as_good_as_its_rounding():
    query, key, queue = _features(8, seed=1), _features(8, seed=2), _features(500, seed=3)
    exact = sce_loss(query.requires_grad_(), key, **TEMPS, coeff=0.5, queue=queue)
    single = query.detach().float().requires_grad_()
    loss = sce_loss(single, key.float(), **TEMPS, coeff=0.5, queue=queue.float())
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)
    exact.backward()
    loss.backward()
    torch.testing.assert_close(single.grad.double(), query.grad, rtol=0, atol=5e-6 * float(query.grad.abs().max()))


def test_sce_loss__gives_the_positive_no_share_of_the_relations():
    query = _features(1)
    negatives = query.expand(3, -1)
    # The positive is as far from the query as can be: any weight of it in the target would cost 200 times as much.
    for parts in ({"queue": negatives}, {"keys": torch.cat([-query, negatives])}):
        loss = sce_loss(query, -query, temp=0.01, temp_m=1.0, coeff=0.0, **parts)
        assert float(loss) == pytest.approx(math.log(3))


def test_sce_loss__gradient_goes_to_the_query_alone():
    query, key, queue, keys = (_features(n, seed=seed).requires_grad_() for seed, n in enumerate((4, 4, 6, 4)))
    sce_loss(query, key, **TEMPS, coeff=0.5, queue=queue, keys=keys).backward()
    assert query.grad.abs().min() > 0
    assert key.grad is None
    assert queue.grad is None
    assert keys.grad is None


def test_sce_loss__queue_may_be_written_before_the_backward_pass():
    query, key, queue = _features(4, seed=1).requires_grad_(), _features(4, seed=2), _features(6, seed=3)
    expected = torch.autograd.grad(sce_loss(query, key, **TEMPS, coeff=0.5, queue=queue), query)
    loss = sce_loss(query, key, **TEMPS, coeff=0.5, queue=queue)
    queue.copy_(_features(6, seed=9))
    torch.testing.assert_close(torch.autograd.grad(loss, query), expected, rtol=0, atol=0)


def test_sce_loss__changes_nothing_that_it_is_given():
    tensors = {"query": _features(4, seed=1), "key": _features(4, seed=2), "queue": _features(6, seed=3)}
    tensors["keys"] = tensors["key"].clone()
    before = {name: x.clone() for name, x in tensors.items()}
    sce_loss(**tensors, **TEMPS, coeff=0.5)
    torch.testing.assert_close(tensors, before, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sce_loss__is_float32_under_autocast(dtype):
    query, key, queue = (_features(n, seed=n, dtype=dtype) for n in (4, 4, 600))
    query.requires_grad_()
    parts = {"queue": queue, "keys": key}
    with torch.autocast("cpu", dtype=dtype):
        loss = sce_loss(query, key, temp=0.01, temp_m=0.005, coeff=0.5, **parts)
    assert loss.dtype == torch.float32
    single = query.detach().float().requires_grad_()
    expected = sce_loss(single, key.float(), temp=0.01, temp_m=0.005, coeff=0.5, queue=queue.float(), keys=key.float())
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    loss.backward()
    expected.backward()
    assert query.grad.isfinite().all()
    torch.testing.assert_close(query.grad, single.grad.to(dtype))


@pytest.mark.parametrize(("temp", "temp_m", "coeff"), [(0.1, 0.05, 0.5), (1.0, 0.2, 0.0), (0.01, 1.0, 1.0)])
def test_sce_chance_level__is_the_loss_of_collapsed_features(temp, temp_m, coeff):
    same = F.normalize(torch.ones(6, 4, dtype=torch.float64), dim=1)
    loss = sce_loss(same[:3], same[:3], temp=temp, temp_m=temp_m, coeff=coeff, queue=same, keys=same[:3])
    assert float(loss) == pytest.approx(sce_chance_level(num_negatives=6 + 2), abs=1e-12)
    assert sce_chance_level(0) == 0.0


def test_sce_loss__of_perfect_features_is_near_zero():
    basis = torch.eye(8)
    loss = sce_loss(basis[:2], basis[:2], temp=0.02, temp_m=0.05, coeff=1.0, queue=basis[2:])
    assert float(loss) < 1e-12 + 6 * math.exp(-1 / 0.02)


def test_sce_loss__of_two_processes_is_that_of_one(run_program, tmp_path):
    batch = {"query": _features(6, seed=1), "key": _features(6, seed=2), "queue": _features(10, seed=3)}
    torch.save(batch, tmp_path / "batch.pt")
    run_program(Path(__file__).with_name("two_processes.py"), tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    query = batch["query"].requires_grad_()
    loss = sce_loss(query, batch["key"], **TEMPS, coeff=0.3, queue=batch["queue"], keys=batch["key"])
    loss.backward()
    torch.testing.assert_close(sum(r["loss"] for r in ranks) / 2, loss.detach())
    torch.testing.assert_close(torch.cat([r["gradient"] for r in ranks]) / 2, query.grad)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"temp": 0.0}, "temp=0.0"), ({"temp_m": -1.0}, "temp_m=-1.0"), ({"coeff": 1.5}, "coeff=1.5")],
)
def test_sce_loss__names_a_number_out_of_range(changed, message):
    arguments = {**TEMPS, "coeff": 0.5, "queue": _features(3)} | changed
    with pytest.raises(ConfigError, match=message):
        sce_loss(_features(2), _features(2), **arguments)


@pytest.mark.parametrize("parts", [{}, {"keys": _features(1)}])
def test_sce_loss__needs_negatives(parts):
    with pytest.raises(ConfigError, match=r"queue\.size.*use_keys=true"):
        sce_loss(_features(1), _features(1), **TEMPS, coeff=0.5, **parts)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": _features(3)}, r"query \(2, 7\), key \(3, 7\)"),
        ({"queue": _features(3, dim=8)}, r"queue \(3, 8\)"),
        ({"keys": _features(4), "keys_offset": 3}, "keys_offset=3: rows 3 to 5"),
        ({"keys": _features(4), "keys_offset": -1}, "keys_offset=-1"),
    ],
)
def test_sce_loss__tells_shapes_that_do_not_fit(changed, message):
    arguments = {"query": _features(2), "key": _features(2), "queue": _features(3)} | changed
    with pytest.raises(ValueError, match=message):
        sce_loss(**arguments, **TEMPS, coeff=0.5)
