import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eztorch.evaluation import LinearHeads, fit_linear_heads, head_accuracies
from eztorch.evaluation.linear import Standardization, head_losses, held_out_rows
from eztorch.utils.errors import ConfigError

RATES, DECAYS = torch.tensor([0.01, 0.5, 2.0]), torch.tensor([0.0, 0.1, 0.001])
RECIPE = {"num_classes": 7, "epochs": 4, "batch_size": 8, "warmup_epochs": 1.5, "momentum": 0.8, "seed": 5}


def samples(count=21):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 6, generator=generator), torch.arange(count) % 7


def reference(features, labels, rate, decay, recipe):
    """A head by itself: a module, autograd, torch's SGD, and the schedule written out."""
    generator = torch.Generator().manual_seed(recipe["seed"])
    linear = nn.Linear(features.shape[1], recipe["num_classes"])
    with torch.no_grad():
        linear.weight.copy_(0.01 * torch.randn(linear.weight.shape, generator=generator))
        linear.bias.zero_()
    optimizer = torch.optim.SGD(linear.parameters(), lr=rate, momentum=recipe["momentum"], weight_decay=decay)
    steps = math.ceil(len(features) / recipe["batch_size"])
    warmup, total, step = recipe["warmup_epochs"] * steps, recipe["epochs"] * steps, 0
    for _ in range(recipe["epochs"]):
        for rows in torch.randperm(len(features), generator=generator).split(recipe["batch_size"]):
            if step < warmup:
                factor = step / warmup
            else:
                factor = (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.zero_grad()
            F.cross_entropy(linear(features[rows]), labels[rows]).backward()
            optimizer.step()
            step += 1
    return linear


def test_fit_linear_heads__each_is_what_sgd_makes_of_it_alone():
    features, labels = samples()
    heads = fit_linear_heads(features, labels, RATES, DECAYS, **RECIPE)
    for i, (rate, decay) in enumerate(zip(RATES.tolist(), DECAYS.tolist(), strict=True)):
        linear = reference(features, labels, rate, decay, RECIPE)
        torch.testing.assert_close(heads.weight[i], linear.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(heads.bias[i], linear.bias, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(heads.logits(features)[:, i], linear(features), rtol=1e-4, atol=1e-4)


def test_fit_linear_heads__a_head_does_not_know_of_the_others():
    features, labels = samples()
    together = fit_linear_heads(features, labels, RATES, DECAYS, **RECIPE)
    alone = fit_linear_heads(features, labels, RATES[1:2], DECAYS[1:2], **RECIPE)
    torch.testing.assert_close(together.weight[1:2], alone.weight)


def test_fit_linear_heads__may_be_none_as_on_a_process_without_a_share_of_the_grid():
    features, labels = samples()
    heads = fit_linear_heads(features, labels, RATES[:0], DECAYS[:0], **RECIPE)
    assert heads.logits(features).shape == (21, 0, 7)
    assert head_accuracies(heads, features, labels).shape == (0, 2)


def test_fit_linear_heads__leaves_samples_without_a_label_out():
    features, labels = samples()
    more = torch.cat([features, 100 * torch.ones(5, 6)]), torch.cat([labels, torch.full((5,), -1)])
    found, expected = (fit_linear_heads(*part, RATES, DECAYS, **RECIPE) for part in (more, (features, labels)))
    assert torch.equal(found.weight, expected.weight)


def test_fit_linear_heads__says_what_cannot_be():
    features, labels = samples()
    with pytest.raises(ConfigError, match="no sample with a label"):
        fit_linear_heads(features, torch.full_like(labels, -1), RATES, DECAYS, **RECIPE)
    with pytest.raises(ConfigError, match="3 learning rates and 2 weight decays"):
        fit_linear_heads(features, labels, RATES, DECAYS[:2], **RECIPE)


def test_head_accuracies__are_shares_of_samples_with_a_label_and_of_failures():
    generator = torch.Generator().manual_seed(2)
    heads = LinearHeads(torch.randn(3, 7, 6, generator=generator), torch.randn(3, 7, generator=generator))
    features, labels = samples(40)
    labels[4] = -1
    found = head_accuracies(heads, features, labels, num_wrong=2)
    for i in range(3):
        order = (features @ heads.weight[i].T + heads.bias[i]).argsort(dim=1, descending=True)
        hits = [[label in row[:k] for row, label in zip(order.tolist(), labels.tolist(), strict=True)] for k in (1, 5)]
        assert found[i].tolist() == pytest.approx([sum(hit) / 41 for hit in hits])


def test_head_losses__are_those_of_each_head_over_samples_with_a_label():
    generator = torch.Generator().manual_seed(2)
    heads = LinearHeads(torch.randn(3, 7, 6, generator=generator), torch.randn(3, 7, generator=generator))
    heads.weight[2] = torch.nan  # a rate that was too high
    features, labels = samples(40)
    labels[4] = -1
    logits = [features @ heads.weight[i].T + heads.bias[i] for i in range(2)]
    expected = [F.cross_entropy(one, labels, ignore_index=-1).item() for one in logits]
    assert head_losses(heads, features, labels).tolist() == pytest.approx([*expected, math.inf])


def test_head_accuracies__of_few_classes_have_no_top_5():
    heads = LinearHeads(torch.eye(3)[None], torch.zeros(1, 3))
    (found,) = head_accuracies(heads, torch.eye(3), torch.tensor([0, 1, 0]))
    assert found[0] == pytest.approx(2 / 3)
    assert found[1].isnan()


def test_standardization__gives_mean_0_and_deviation_1_to_what_varies():
    features, _ = samples(50)
    features = torch.cat([features * 3 + 2, torch.full((50, 1), 7.0)], dim=1)
    found = Standardization.of(features)(features)
    torch.testing.assert_close(found.mean(0), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.tensor([1.0] * 6 + [0.0]))


def test_held_out_rows__are_the_same_at_every_call_and_leave_something_on_both_sides():
    assert torch.equal(held_out_rows(100, 0.25), held_out_rows(100, 0.25))
    assert held_out_rows(3, 0.01).sum() == 1
    with pytest.raises(ConfigError, match=r"held_out=0\.5 of 1 samples"):
        held_out_rows(1, 0.5)
