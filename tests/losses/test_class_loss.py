import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from eztorch.losses import as_weights, balanced_weights, class_loss, multi_label_loss
from eztorch.utils.errors import ConfigError

CLASSES = 5
LABELS = torch.tensor([0, 3, -1, 4, 0, 2])


@pytest.fixture
def logits():
    return 3 * torch.randn(len(LABELS), CLASSES, generator=torch.Generator().manual_seed(0))


def slow(logits, targets, *, smoothing=0.0, weights=None, gamma=0.0):
    """Sum over samples and classes, in Python; targets are weights of the classes."""
    total, known = 0.0, 0.0
    for row, target in zip(logits.double().tolist(), targets.double().tolist(), strict=True):
        exps = [math.exp(value) for value in row]
        for k, share in enumerate(target):
            p = exps[k] / sum(exps)
            smooth = (1 - smoothing) * share + smoothing * sum(target) / CLASSES
            total -= (1 if weights is None else float(weights[k])) * smooth * (1 - p) ** gamma * math.log(p)
            known += share
    return total / known


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 1.0, 2.0, 0.0, 3.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_class_loss__equals_a_slow_reference(logits, weights, smoothing, gamma, soft):
    targets = as_weights(LABELS, CLASSES)
    labels = LABELS
    if soft:
        labels = targets = 0.7 * targets + 0.3 * targets.roll(1, dims=0)  # some weights sum to less than 1
    found = class_loss(logits, labels, label_smoothing=smoothing, class_weights=weights, gamma=gamma)
    expected = slow(logits, targets, smoothing=smoothing, weights=weights, gamma=gamma)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_class_loss__of_classes_is_that_of_their_weights(logits):
    torch.testing.assert_close(class_loss(logits, LABELS), class_loss(logits, as_weights(LABELS, CLASSES)))


def test_class_loss__of_soft_labels_is_torchs(logits):
    soft = torch.rand(6, CLASSES, generator=torch.Generator().manual_seed(1))
    soft /= soft.sum(dim=1, keepdim=True)
    expected = F.cross_entropy(logits, soft, label_smoothing=0.1)
    torch.testing.assert_close(class_loss(logits, soft, label_smoothing=0.1), expected)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_class_loss__a_batch_in_two_halves_is_the_mean_of_both(logits, gamma):
    """So the loss of two processes is that of one, also where weights differ; torch's own mean is not."""
    labels, weights = torch.tensor([0, 1, 1, 4, 4, 4]), torch.tensor([0.5, 1.0, 2.0, 0.0, 3.0])
    halves = [
        class_loss(logits[part], labels[part], class_weights=weights, gamma=gamma) for part in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close(class_loss(logits, labels, class_weights=weights, gamma=gamma), sum(halves) / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("labels", [torch.tensor([-1, -1]), torch.zeros(2, CLASSES)])
def test_class_loss__without_a_label_is_zero_with_a_zero_gradient(gamma, labels):
    logits = torch.randn(2, CLASSES, requires_grad=True)
    loss = class_loss(logits, labels, gamma=gamma)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_class_loss__of_a_certain_answer_has_a_finite_gradient(gamma):
    logits = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
    class_loss(logits, torch.tensor([0]), gamma=gamma).backward()
    assert logits.grad.isfinite().all()
    again = torch.tensor([[300.0, -300.0]], requires_grad=True)
    multi_label_loss(again, torch.tensor([[1, 0]]), gamma=gamma).backward()
    assert again.grad.isfinite().all()


def test_class_loss__is_in_float32(logits):
    assert class_loss(logits.bfloat16(), LABELS, gamma=2.0).dtype == torch.float32
    assert multi_label_loss(logits.bfloat16(), as_weights(LABELS, CLASSES), gamma=2.0).dtype == torch.float32


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.5])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_multi_label_loss__is_torchvisions_focal_loss(logits, gamma, alpha):
    labels = (torch.rand(6, CLASSES, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    expected = sigmoid_focal_loss(logits, labels, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean")
    torch.testing.assert_close(multi_label_loss(logits, labels, gamma=gamma, alpha=alpha), expected)


def test_multi_label_loss__smooths(logits):
    labels = as_weights(LABELS, CLASSES)
    expected = F.binary_cross_entropy_with_logits(logits, 0.8 * labels + 0.1)
    torch.testing.assert_close(multi_label_loss(logits, labels, label_smoothing=0.2), expected)


def test_balanced_weights__are_those_of_scikit_learn():
    labels = torch.tensor([0, 0, 0, 2, 3, 3])
    found = balanced_weights(torch.cat([labels, torch.tensor([-1])]), 5)
    expected = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels.numpy()).tolist()
    assert found.tolist() == pytest.approx([expected[0], 0, expected[1], expected[2], 0])
    assert float(found[labels].mean()) == pytest.approx(1.0)


def test_balanced_weights__of_no_label_are_an_error():
    with pytest.raises(ConfigError, match="no training sample has one"):
        balanced_weights(torch.tensor([-1, -1]), 3)
