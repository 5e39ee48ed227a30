"""NNCLR: its support set, and the neighbours that it contrasts with."""

from __future__ import annotations

import methods
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import default_collate

from eztorch.models.heads import MLPHead
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("accumulate", [1, 3])
def test_queue__holds_the_projections_of_view_0_in_the_order_of_the_samples(fit, tiny, accumulate):
    model = methods.make("nnclr", queue={"size": 10, "feature_dim": 4}, optimizer=tiny.still)
    data = tiny.Views(12)
    fit(model, data=data, accumulate_grad_batches=accumulate)
    z = F.normalize(model.projector(model.trunk(data.views[0])), dim=1)
    torch.testing.assert_close(model.queue.features, torch.cat([z[10:], z[2:10]]))  # the oldest two are written over
    assert model.queue.pointer == 2


def test_queue__is_written_after_the_optimizer_step(tiny):
    model = methods.make("nnclr")
    data = tiny.Views(6)
    before = model.queue.features.clone()
    model.training_step(default_collate([data[i] for i in range(6)]), 0)["loss"].backward()
    assert torch.equal(model.queue.features, before)
    model.after_optimizer_step(0)
    assert (model.queue.features[:6] != before[:6]).any(dim=1).all()
    assert torch.equal(model.queue.features[6:], before[6:])


def test_step__contrasts_the_neighbour_of_one_view_with_the_predictions_of_the_other(tiny):
    model = methods.make("nnclr", temp=0.2)
    data = tiny.Views(6)
    batch = default_collate([data[i] for i in range(6)])
    features = [model.features(view) for view in batch["input"]]
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for i in range(6):
            similar = [float(features[a].z[i].detach() @ row) for row in model.queue.features]
            neighbour = model.queue.features[similar.index(max(similar))]
            scores = torch.stack([neighbour @ features[b].q[k] / 0.2 for k in range(6)])
            total = total - torch.log(scores[i].exp() / scores.exp().sum())
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], total / 12)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"queue": None}, r"NNCLR finds neighbours in a queue; write model\.queue\.size"),
        ({"sym": False}, "NNCLRModel compares all views with one another, whole"),
        ({"temp": 0}, "temp=0; expected a value above 0"),
        (
            {"projector": MLPHead(input_dim=16, hidden_dims=8, output_dim=6), "predictor": None},
            r"queue\.feature_dim=4, but the keys have 6 features",
        ),
    ],
)
def test_nnclr_model__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        methods.make("nnclr", **keys)


def test_nnclr_model__a_queue_that_does_not_fit_unknown_networks_is_refused_in_the_first_step(tiny):
    model = methods.make("nnclr", projector=torch.nn.Linear(16, 6), predictor=torch.nn.Linear(6, 6))
    with pytest.raises(ConfigError, match=r"queue\.feature_dim=4, but the keys have 6 features"):
        model.training_step(default_collate([tiny.Views(4)[i] for i in range(4)]), 0)
