"""InfoNCE and relations against a queue, compared with their sums written out."""

from __future__ import annotations

import pytest
import torch

from eztorch.losses import moco_loss, relations, ressl_loss, sce_loss
from eztorch.utils.errors import ConfigError


def others(i, queue, keys, offset):
    found = [] if keys is None else [key for j, key in enumerate(keys) if j != offset + i]
    return found + ([] if queue is None else list(queue))


def moco_reference(query, key, temp, queue=None, keys=None, offset=0):
    total = 0.0
    for i in range(len(query)):
        above = torch.exp(query[i] @ key[i] / temp)
        below = above + sum(torch.exp(query[i] @ k / temp) for k in others(i, queue, keys, offset))
        total = total - torch.log(above / below)
    return total / len(query)


def ressl_reference(query, key, temp, temp_m, queue=None, keys=None, offset=0):
    total = 0.0
    for i in range(len(query)):
        rows = torch.stack(others(i, queue, keys, offset))
        target = torch.softmax(rows @ key[i] / temp_m, dim=0)
        total = total - (target * torch.log_softmax(rows @ query[i] / temp, dim=0)).sum()
    return total / len(query)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("which", ["queue", "keys", "both"])
@pytest.mark.parametrize("loss", ["moco", "ressl"])
def test_equals_the_papers_sum(slow, loss, which, batch, monkeypatch):
    monkeypatch.setitem(relations._BLOCK, "cpu", 1)  # blocks of 256 rows
    key = slow.unit(batch, 7, seed=1).detach()
    queue = None if which == "keys" else slow.unit(600, 7, seed=2).detach()
    keys, offset = None, 0
    if which != "queue":
        keys, offset = torch.cat([slow.unit(300, 7, seed=3).detach(), key]), 300
    parts = {"queue": queue, "keys": keys, "keys_offset": offset}
    query = slow.unit(batch, 7)
    if loss == "moco":
        slow.agree(
            lambda q: moco_loss(q, key, temp=0.2, **parts),
            lambda q: moco_reference(q, key, 0.2, queue, keys, offset),
            query,
        )
    else:
        slow.agree(
            lambda q: ressl_loss(q, key, temp=0.1, temp_m=0.04, **parts),
            lambda q: ressl_reference(q, key, 0.1, 0.04, queue, keys, offset),
            query,
        )


def test_moco_loss__is_sce_without_relations(slow):
    query, key, queue = (slow.unit(n, 7, seed=n).detach() for n in (5, 5, 20))
    expected = sce_loss(query, key, temp=0.1, temp_m=0.7, coeff=1.0, queue=queue)
    torch.testing.assert_close(moco_loss(query, key, temp=0.1, queue=queue), expected)


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_blocks__change_nothing_also_far_from_unit_length(slow, scale, monkeypatch):
    query, key, queue = (scale * slow.unit(n, 7, seed=n).detach() for n in (5, 5, 1000))
    keys = {"temp": 0.1, "temp_m": 0.05, "coeff": 0.4, "queue": queue}
    whole = sce_loss(query, key, **keys)
    monkeypatch.setitem(relations._BLOCK, "cpu", 1)
    torch.testing.assert_close(sce_loss(query, key, **keys), whole)
    assert whole.isfinite()


@pytest.mark.parametrize("number", [2, 257, 513])
def test_a_block_of_own_keys_alone__is_left_behind(slow, number, monkeypatch):
    """Blocks of the batch may begin or end with the query's own key, or hold nothing else."""
    monkeypatch.setitem(relations._BLOCK, "cpu", 1)
    keys = slow.unit(number, 3).detach()
    query = slow.unit(number, 3, seed=9)
    slow.agree(
        lambda q: moco_loss(q[-2:], keys[-2:], temp=0.2, keys=keys, keys_offset=number - 2),
        lambda q: moco_reference(q[-2:], keys[-2:], 0.2, None, keys, number - 2),
        query,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: moco_loss(x, x, temp=0, queue=x), "temp=0"),
        (lambda x: ressl_loss(x, x, temp=0.1, temp_m=0, queue=x), "temp_m=0"),
        (lambda x: moco_loss(x, x, temp=0.1), "no negatives"),
        (lambda x: ressl_loss(x[:1], x[:1], temp=0.1, temp_m=0.1, keys=x[:1]), "no negatives"),
    ],
)
def test_names_what_cannot_be_used(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.eye(3))
