from __future__ import annotations

import pytest
import torch

from eztorch.losses import simclr_loss, supcon_loss
from eztorch.utils.errors import ConfigError


def reference(z, labels, temp, anchors=None):
    """L_out of the paper's equation 2, one number at a time."""
    views, samples, _ = z.shape
    rows = [(v, i) for v in range(views) for i in range(samples)]
    losses = []
    for v, i in rows:
        if anchors is not None and i not in anchors:
            continue
        others = [row for row in rows if row != (v, i)]
        below = sum(torch.exp(z[v, i] @ z[w, j] / temp) for w, j in others)
        alike = [(w, j) for w, j in others if j == i or (labels[i] >= 0 and labels[j] == labels[i])]
        if alike:
            losses.append(-sum(z[v, i] @ z[w, j] / temp - torch.log(below) for w, j in alike) / len(alike))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 0], [0, 1, 2, 3, 0], [2, -1, -1, 2, 2]])
def test_supcon_loss__equals_the_papers_sum(slow, views, labels):
    labels = torch.tensor(labels)
    z = slow.unit(views, 5, 7)
    slow.agree(lambda x: supcon_loss(x, labels, temp=0.3), lambda x: reference(x, labels, 0.3), z)


def test_supcon_loss__of_classes_of_one_is_simclr(slow):
    z = slow.unit(3, 4, 7)
    expected = simclr_loss(z, temp=0.2)
    torch.testing.assert_close(supcon_loss(z, torch.arange(4), temp=0.2), expected)
    torch.testing.assert_close(supcon_loss(z, torch.full((4,), -1), temp=0.2), expected)


def test_supcon_loss__of_a_part_of_the_batch_is_that_of_its_anchors(slow):
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    slow.agree(
        lambda x: supcon_loss(x[:, 2:4], labels[2:4], temp=0.3, everyone=x, all_labels=labels, offset=2),
        lambda x: reference(x, labels, 0.3, anchors=[2, 3]),
        slow.unit(2, 6, 7),
    )


def test_supcon_loss__without_any_positive_is_zero(slow):
    z = slow.unit(1, 3, 7)
    loss = supcon_loss(z, torch.arange(3), temp=0.3)
    assert loss == 0
    assert torch.autograd.grad(loss, z)[0].abs().sum() == 0


def test_supcon_loss__names_what_cannot_be_used():
    with pytest.raises(ConfigError, match="temp=-1"):
        supcon_loss(torch.ones(2, 2, 2), torch.zeros(2), temp=-1)
    with pytest.raises(ConfigError, match="two rows"):
        supcon_loss(torch.ones(1, 1, 2), torch.zeros(1), temp=1)
