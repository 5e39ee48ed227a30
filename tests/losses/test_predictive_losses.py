"""BYOL, SimSiam, NNCLR, DINO and SwAV against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch

from eztorch.losses import (
    byol_loss,
    centred,
    dino_loss,
    ibot_loss,
    nearest_neighbours,
    nnclr_loss,
    simsiam_loss,
    sinkhorn,
    swav_loss,
)
from eztorch.utils.errors import ConfigError


def test_byol_loss__is_the_squared_distance_of_unit_vectors(slow):
    target = slow.unit(5, 4, seed=1).detach() * 3

    def reference(q):
        return sum((q[i] / q[i].norm() - target[i] / target[i].norm()).square().sum() for i in range(5)) / 5

    slow.agree(lambda q: byol_loss(q, target), reference, (slow.unit(5, 4) * 2).detach().requires_grad_())


def test_simsiam_loss__takes_no_gradient_to_the_target(slow):
    prediction, target = slow.unit(5, 4), slow.unit(5, 4, seed=1)
    slow.agree(
        simsiam_loss, lambda p, z: -sum(p[i] / p[i].norm() @ z[i].detach() for i in range(5)) / 5, prediction, target
    )


@pytest.mark.parametrize("loss", [byol_loss, simsiam_loss])
def test_half_precision__is_compared_in_float32(slow, loss):
    prediction, target = (slow.unit(5, 4, seed=seed).detach().bfloat16() for seed in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(prediction, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(prediction.float(), target.float()))


def test_nearest_neighbours__are_the_rows_with_the_largest_product(slow):
    z, support = slow.unit(6, 3), slow.unit(9, 3, seed=1).detach()
    found = nearest_neighbours(z, support)
    for row, neighbour in zip(z.detach(), found, strict=True):
        assert float(row @ neighbour) == max(float(row @ other) for other in support)
    assert not found.requires_grad


def test_nnclr_loss__equals_equation_3(slow):
    neighbour, prediction = slow.unit(5, 4), slow.unit(5, 4, seed=1)

    def reference(n, p):
        n = n.detach()
        shares = [torch.exp(n[i] @ p[i] / 0.2) / sum(torch.exp(n[i] @ p[k] / 0.2) for k in range(5)) for i in range(5)]
        return -sum(map(torch.log, shares)) / 5

    slow.agree(lambda n, p: nnclr_loss(n, p, temp=0.2), reference, neighbour, prediction)
    halves = [
        nnclr_loss(neighbour[s], prediction[s], temp=0.2, everyone=prediction, offset=s.start)
        for s in (slice(0, 2), slice(2, 5))
    ]
    torch.testing.assert_close((2 * halves[0] + 3 * halves[1]) / 5, nnclr_loss(neighbour, prediction, temp=0.2))


def test_dino_loss__equals_equations_1_and_2(slow):
    student, teacher, centre = slow.unit(4, 6), slow.unit(4, 6, seed=1), slow.unit(6, seed=2).detach()

    def reference(s, t):
        total = 0.0
        for i in range(4):
            target = torch.exp((t[i].detach() - centre) / 0.04)
            share = torch.exp(s[i] / 0.1)
            total = total - (target / target.sum() * torch.log(share / share.sum())).sum()
        return total / 4

    slow.agree(lambda s, t: dino_loss(s, t, temp=0.1, temp_m=0.04, centre=centre), reference, student, teacher)


def test_ibot_loss__equals_equation_2_over_the_hidden_patches_of_each_sample(slow):
    student, teacher, centre = slow.unit(3, 4, 6), slow.unit(3, 4, 6, seed=1), slow.unit(6, seed=2).detach()
    hidden = [[0, 1, 2], [], [3]]  # the second sample is seen whole
    valid = torch.zeros(3, 4, dtype=torch.bool)
    for row, places in enumerate(hidden):
        valid[row, places] = True

    def reference(s, t):
        total = 0.0 * s.sum()
        for row, places in enumerate(hidden):
            for place in places:
                target = torch.exp((t[row, place].detach() - centre) / 0.04)
                share = torch.exp(s[row, place] / 0.1)
                cross = -(target / target.sum() * torch.log(share / share.sum())).sum()
                total = total + cross / len(places) / 3
        return total

    def loss(s, t):
        return ibot_loss(s, centred(t, temp_m=0.04, centre=centre), valid, temp=0.1)

    slow.agree(loss, reference, student, teacher)
    assert ibot_loss(student, teacher, torch.zeros_like(valid), temp=0.1).item() == 0


def test_ibot_loss__of_half_precision_is_that_of_float32(slow):
    student, target = slow.unit(2, 3, 6).detach().bfloat16(), slow.unit(2, 3, 6, seed=1).detach().softmax(dim=-1)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ibot_loss(student, target.bfloat16(), valid, temp=0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ibot_loss(student.float(), target.bfloat16().float(), valid, temp=0.1))


def test_dino_loss__of_a_centred_constant_teacher_is_the_entropy_of_chance():
    teacher = torch.randn(1, 8).expand(3, -1)
    loss = dino_loss(torch.zeros(3, 8), teacher, temp=0.1, temp_m=0.04, centre=teacher[0])
    assert float(loss) == pytest.approx(math.log(8))


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn__equals_the_papers_iterations(slow, iterations):
    scores = slow.unit(7, 4).detach()
    q = torch.exp(scores / 0.05).T  # (K, B), as in the paper's listing
    q = q / q.sum()
    for _ in range(iterations):
        for k in range(4):
            q[k] = q[k] / q[k].sum() / 4
        for b in range(7):
            q[:, b] = q[:, b] / q[:, b].sum() / 7
    torch.testing.assert_close(sinkhorn(scores, eps=0.05, iterations=iterations), (q * 7).T)


def test_sinkhorn__uses_all_prototypes_alike_where_features_are_the_same():
    assigned = sinkhorn(torch.rand(1, 5).expand(10, 5), iterations=3)
    torch.testing.assert_close(assigned, torch.full((10, 5), 0.2))


def test_sinkhorn__leaves_out_rows_of_minus_infinity(slow):
    scores = slow.unit(7, 4).detach()
    padded = torch.cat([scores[:3], torch.full((2, 4), -torch.inf), scores[3:]])
    assigned = sinkhorn(padded)
    torch.testing.assert_close(assigned[[0, 1, 2, 5, 6, 7, 8]], sinkhorn(scores))
    assert not assigned[3:5].any()


def test_sinkhorn__of_two_processes_is_that_of_one(slow):
    scores = slow.unit(8, 5).detach()
    parts = [scores[:3], scores[3:]]
    whole = sinkhorn(scores)
    # The other process' share of each sum, known in advance from its rows of the whole.
    q = [torch.exp((part - 1) / 0.05) for part in parts]
    recorded = []
    for _ in range(3):
        total = q[0].sum(0, keepdim=True) + q[1].sum(0, keepdim=True)
        recorded.append(total)
        q = [x / total for x in q]
        q = [x / x.sum(1, keepdim=True) for x in q]
    sums = iter(recorded)
    first = sinkhorn(parts[0], everywhere=lambda x: next(sums))
    torch.testing.assert_close(first, whole[:3])


def test_swav_loss__is_the_cross_entropy_of_equation_2(slow):
    scores, assignment = slow.unit(5, 4), sinkhorn(slow.unit(5, 4, seed=1))

    def reference(s):
        shares = [torch.exp(s[i] / 0.1) / torch.exp(s[i] / 0.1).sum() for i in range(5)]
        return -sum((assignment[i] * torch.log(shares[i])).sum() for i in range(5)) / 5

    slow.agree(lambda s: swav_loss(s, assignment), reference, scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nnclr_loss(x, x, temp=0), "temp=0"),
        (lambda x: dino_loss(x, x, temp=0.1, temp_m=0, centre=x[0]), "temp_m=0"),
        (lambda x: ibot_loss(x[None], x[None], x[:1] > 0, temp=0), "temp=0"),
        (lambda x: sinkhorn(x, eps=0), "eps=0"),
        (lambda x: swav_loss(x, x, temp=0), "temp=0"),
    ],
)
def test_names_a_number_out_of_range(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.ones(2, 2))
