"""The token loss against its equations, written out token by token."""

import math

import pytest
import torch
from torch.nn import functional as F

from eztorch.losses import sce_loss, sce_token_chance_level, sce_token_loss
from eztorch.losses.relations import _BLOCK
from eztorch.utils.errors import ConfigError

TEMPS = {"temp": 0.2, "temp_m": 0.1}


def _reference(
    query,
    key,
    temp,
    temp_m,
    coeff,
    positive_radius=0,
    keep_aligned_positive=True,
    normalize_positive_coeff=False,
    use_keys=False,
    queue=None,
    keys=None,
    keys_offset=0,
):
    """One token at a time, with lists of positives and negatives; autograd gives the gradient."""
    losses = []
    for b, tokens in enumerate(query):
        for t, token in enumerate(tokens):
            positives, negatives = [], [] if queue is None else list(queue)
            for u, other in enumerate(key[b]):
                if abs(t - u) > positive_radius:
                    negatives += [other] if use_keys or keys is not None else []
                elif u != t or keep_aligned_positive:
                    positives.append(other)
            for n, sample in enumerate([] if keys is None else keys):
                negatives += list(sample) if n != keys_offset + b else []
            share = coeff * (1 - 1 / (len(positives) + 1)) if normalize_positive_coeff else coeff
            s = [torch.exp(key[b, t] @ k / temp_m) for k in negatives]
            w = [share / len(positives)] * len(positives) + [(1 - share) * x / sum(s) for x in s]
            e = [torch.exp(token @ k / temp) for k in (*positives, *negatives)]
            losses.append(-sum(x * torch.log(y / sum(e)) for x, y in zip(w, e, strict=True)))
    return sum(losses) / len(losses)


def _agree(slow, samples, tokens, with_queue, with_keys, **keys):
    query, key = slow.unit(samples, tokens, 5, seed=1), slow.unit(samples, tokens, 5, seed=2).detach()
    if with_queue:
        keys["queue"] = slow.unit(4, 5, seed=3).detach()
    if with_keys:  # of three processes, this one is the second
        others = slow.unit(2 * samples, tokens, 5, seed=4).detach()
        keys |= {"keys": torch.cat([others[:samples], key, others[samples:]]), "keys_offset": samples}
    slow.agree(lambda q: sce_token_loss(q, key, **TEMPS, **keys), lambda q: _reference(q, key, **TEMPS, **keys), query)


@pytest.mark.parametrize("coeff", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("radius", [0, 1, 2, 3, 7])  # of 3 tokens: themselves, neighbours, all
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("with_queue", "with_keys", "use_keys"),
    [(True, False, False), (True, False, True), (False, True, False), (True, True, False), (True, True, True)],
    ids=["queue", "queue and own", "all", "queue and all", "queue, own and all"],
)
def test_sce_token_loss__equals_its_equations(slow, with_queue, with_keys, use_keys, normalize, radius, coeff):
    keep = {"positive_radius": radius, "normalize_positive_coeff": normalize, "use_keys": use_keys, "coeff": coeff}
    _agree(slow, 2, 3, with_queue, with_keys, **keep)
    if radius:
        _agree(slow, 2, 3, with_queue, with_keys, keep_aligned_positive=False, **keep)


@pytest.mark.parametrize(("with_queue", "with_keys"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("radius", [0, 2])
def test_sce_token_loss__of_one_token_or_one_sample_equals_its_equations(slow, with_queue, with_keys, radius):
    for samples, tokens in ((3, 1), (1, 4), (1, 1)):
        _agree(slow, samples, tokens, with_queue, with_keys, coeff=0.5, positive_radius=radius)


def test_sce_token_loss__needs_nothing_but_the_own_tokens(slow):
    _agree(slow, 2, 6, False, False, coeff=0.5, positive_radius=2, use_keys=True)
    _agree(slow, 2, 6, False, False, coeff=0.5, positive_radius=2, use_keys=True, keep_aligned_positive=False)


@pytest.mark.parametrize("tokens", [1, 3, 40])
def test_sce_token_loss__is_the_same_in_blocks_of_any_length(slow, tokens, monkeypatch):
    """Blocks of 256 rows: some hold nothing but a row's own tokens, others end within a sample."""
    query, key = (slow.unit(6, tokens, 5, seed=seed).detach() for seed in (1, 2))
    keys = {"queue": slow.unit(300, 5, seed=3).detach(), "keys": key.repeat(5, 1, 1), "keys_offset": 6}
    loss = {"temp": 0.2, "temp_m": 0.1, "coeff": 0.3, "positive_radius": 1, **keys}
    whole = sce_token_loss(query, key, **loss)
    monkeypatch.setitem(_BLOCK, "cpu", 1)
    torch.testing.assert_close(sce_token_loss(query, key, **loss), whole)


def test_sce_token_loss__stands_a_block_of_own_tokens_alone(slow, monkeypatch):
    monkeypatch.setitem(_BLOCK, "cpu", 1)
    query, key = (slow.unit(2, 300, 3, seed=seed).detach() for seed in (1, 2))
    keys = {"keys": key, "positive_radius": 400, "coeff": 0.3, **TEMPS}  # the first 256 rows are own, and positives
    parts = [F.normalize(x, dim=-1).requires_grad_() for x in (query, query)]
    loss = sce_token_loss(parts[0], key, **keys)
    monkeypatch.undo()
    expected = sce_token_loss(parts[1], key, **keys)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(x, part)[0] for x, part in zip((loss, expected), parts, strict=True)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].isfinite().all()


def test_sce_token_loss__of_single_tokens_is_the_loss_of_samples(slow):
    query, key, queue = (slow.unit(n, 5, seed=n) for n in (4, 4, 6))
    settings = {**TEMPS, "coeff": 0.3, "queue": queue}
    tokens = sce_token_loss(query[:, None], key[:, None], keys=key[:, None], **settings)
    torch.testing.assert_close(tokens, sce_loss(query, key, keys=key, **settings))


def test_sce_token_loss__gradient_goes_to_the_query_alone_and_survives_a_written_queue(slow):
    query, key, queue = slow.unit(2, 3, 5, seed=1), slow.unit(2, 3, 5, seed=2), slow.unit(6, 5, seed=3).detach()
    settings = {**TEMPS, "coeff": 0.5, "queue": queue, "keys": key}
    expected = torch.autograd.grad(sce_token_loss(query, key, **settings), query)
    loss = sce_token_loss(query, key, **settings)
    queue.zero_()
    gradient = torch.autograd.grad(loss, (query, key), allow_unused=True)
    torch.testing.assert_close(gradient[0], expected[0], rtol=0, atol=0)
    assert gradient[1] is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sce_token_loss__is_float32_under_autocast(slow, dtype):
    query, key, queue = (slow.unit(*shape).detach().to(dtype) for shape in ((2, 3, 5), (2, 3, 5), (9, 5)))
    settings = {"temp": 0.01, "temp_m": 0.005, "coeff": 0.5, "use_keys": True}
    with torch.autocast("cpu", dtype=dtype):
        loss = sce_token_loss(query, key, queue=queue, **settings)
    assert loss.dtype == torch.float32
    expected = sce_token_loss(query.float(), key.float(), queue=queue.float(), **settings)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)


@pytest.mark.parametrize("radius", [0, 1, 5])
@pytest.mark.parametrize("use_keys", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_sce_token_chance_level__is_the_loss_of_collapsed_features(radius, use_keys, keep):
    if not keep and not radius:
        return
    same = F.normalize(torch.ones(3, 5, 4, dtype=torch.float64), dim=2)
    settings = {"positive_radius": radius, "keep_aligned_positive": keep}
    loss = sce_token_loss(same, same, **TEMPS, coeff=0.3, queue=same[0], use_keys=use_keys, **settings)
    level = sce_token_chance_level(5, 5, within=use_keys, **settings)
    assert float(loss) == pytest.approx(level, abs=1e-12)
    everyone = sce_token_loss(same, same, **TEMPS, coeff=0.3, queue=same[0], keys=same, **settings)
    assert float(everyone) == pytest.approx(math.log(5 + 10 + 5 - (not keep)), abs=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"temp": 0.0}, "temp=0.0"),
        ({"coeff": 1.5}, "coeff=1.5"),
        ({"positive_radius": -1}, "positive_radius=-1"),
        ({"keep_aligned_positive": False}, "keep_aligned_positive=false with positive_radius=0"),
        ({"queue": None}, r"no negatives.*queue\.size"),
        ({"queue": None, "use_keys": True, "positive_radius": 1}, "among 3 with positive_radius=1"),
        ({"queue": None, "keys": torch.eye(4)[None, :3], "positive_radius": 2}, "no negatives"),
    ],
)
def test_sce_token_loss__names_what_leaves_nothing_to_compare(changed, message):
    tokens = torch.eye(4)[None, :3]
    settings = {**TEMPS, "coeff": 0.5, "queue": torch.eye(4), **changed}
    with pytest.raises(ConfigError, match=message):
        sce_token_loss(tokens, tokens, **settings)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query": torch.ones(2, 4)}, r"query \(2, 4\)"),
        ({"key": torch.ones(2, 2, 4)}, r"key \(2, 2, 4\)"),
        ({"queue": torch.ones(5, 3)}, r"queue \(5, 3\)"),
        ({"keys": torch.ones(4, 2, 4)}, r"keys \(4, 2, 4\)"),
        ({"keys": torch.ones(4, 3, 4), "keys_offset": 3}, "keys_offset=3: rows 3 to 5"),
    ],
)
def test_sce_token_loss__tells_shapes_that_do_not_fit(changed, message):
    tensors = {"query": torch.ones(2, 3, 4), "key": torch.ones(2, 3, 4), "queue": torch.ones(5, 4), **changed}
    with pytest.raises(ValueError, match=message):
        sce_token_loss(**tensors, **TEMPS, coeff=0.5)
