"""SimCLR and its decoupled forms: options, and more than two views."""

from __future__ import annotations

import methods
import pytest
import torch
from torch.utils.data import default_collate

from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize(("num_global", "num_local"), [(2, 0), (3, 0), (2, 2)])
def test_step__contrasts_every_view_with_every_other_local_crops_too(tiny, decoupled, num_global, num_local):
    shapes = ((3, 4, 4),) * num_global + ((3, 2, 2),) * num_local
    model = methods.make(
        "simclr", decoupled=decoupled, temp=0.3, num_global_crops=num_global, num_local_crops=num_local
    )
    data = tiny.Views(5, shapes)
    batch = default_collate([data[i] for i in range(5)])
    rows = {(v, i): z for v, view in enumerate(batch["input"]) for i, z in enumerate(model.features(view).z)}
    losses = []
    for (v, i), anchor in rows.items():
        for (w, j), positive in rows.items():
            if j == i and w != v:
                below = [
                    anchor @ other / 0.3
                    for (u, k), other in rows.items()
                    if (k != i if decoupled else (u, k) != (v, i))
                ]
                losses.append(torch.stack(below).exp().sum().log() - anchor @ positive / 0.3)
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize("name", ["simclr", "dcl", "dclw"])
def test_loss__of_a_method_is_its_own(tiny, name):
    batch = default_collate([tiny.Views(6)[i] for i in range(6)])
    losses = {other: methods.make(other).training_step(batch, 0)["loss"].item() for other in ("simclr", "dcl", "dclw")}
    mine = losses.pop(name)
    assert all(abs(mine - other) > 1e-3 for other in losses.values())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"sigma": 0.5}, r"sigma=0\.5 weighs the positives of the decoupled loss; write decoupled=true"),
        ({"sigma": 0.0, "decoupled": True}, r"sigma=0\.0; expected a value above 0"),
        ({"temp": -1}, "temp=-1; expected a value above 0"),
        ({"sym": False}, r"SimCLRModel compares all views with one another, whole; write model\.sym=true"),
        ({"num_splits": 2}, r"model\.num_splits=0"),
        ({"gradient_cache_size": 0}, "gradient_cache_size=0; expected a positive number of samples, or null"),
    ],
)
def test_simclr_model__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        methods.make("simclr", **keys)


def test_momentum__is_an_error_where_there_is_no_target():
    with pytest.raises(ConfigError, match="SimCLRModel has no moving average"):
        methods.make("simclr").momentum_at(0)
