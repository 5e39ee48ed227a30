"""iBOT: what is hidden of whom, what is learned of it, and the centres."""

from __future__ import annotations

from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn
from torch.utils.data import default_collate

from eztorch.losses import sinkhorn
from eztorch.models.heads import DINOHead, IBOTHead
from eztorch.models.siamese.patch_tokens import as_mask
from eztorch.models.trunks import VisionTransformer
from eztorch.utils.errors import ConfigError

GLOBAL, LOCAL = (3, 8, 8), (3, 4, 4)
TEMPS = {"temp": 0.2, "temp_m": 0.05, "start_warmup_temp_m": 0.05}


def make(name: str = "ibot", **keys: Any) -> Any:
    """A model whose teacher is another network, with centres that are not 0."""
    model = methods.make(name, **{"mask_ratio": [0.1, 0.4], "mask_prob": 0.7, **TEMPS, **keys})
    with torch.no_grad():
        for parameter in (*model.trunk.parameters(), *model.projector.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.centre.copy_(torch.linspace(-0.5, 0.5, 6))
        model.patch_centre.copy_(torch.linspace(0.3, -0.2, 6))
    return model


def _vit(**keys: Any) -> VisionTransformer:
    keys = {"depth": 1, "pool": "token", "mask_token": True, **keys}
    return VisionTransformer(patch=(2, 2), embed_dim=8, num_heads=2, **keys)


def batch_of(tiny: Any, shapes: tuple[tuple[int, ...], ...] = (GLOBAL, GLOBAL, LOCAL)) -> dict[str, Any]:
    data = tiny.Views(6, shapes)
    return default_collate([data[index] for index in range(6)])


def cross_entropy(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return -(target * (student / 0.2).log_softmax(dim=-1)).sum(dim=-1)


@pytest.mark.parametrize("name", ["ibot", "ibot, a head each, sinkhorn"])
@pytest.mark.parametrize("mutual_pass", [False, True])
def test_step__is_the_sum_of_both_losses_written_out(tiny, name, mutual_pass):
    model = make(name, num_local_crops=1, mutual_pass=mutual_pass, class_coeff=0.5, patch_coeff=2.0)
    batch = batch_of(tiny)
    step = model.training_step(batch, 0)
    views, places = batch["input"], model.beside_views(batch["input"], 0)
    masks = [as_mask(one, (4, 4)) for one in places]
    assert 0 < sum(mask.sum() for mask in masks) < 0.4 * 2 * 6 * 16

    projector, teacher = model.projector, model.target.projector
    seen = [model.target.trunk.tokens(view) for view in views[:2]]
    student = [model.trunk.tokens(view, hidden=mask) for view, mask in zip(views, [*masks, None], strict=True)]
    classes, hidden = [teacher(tokens[:, 0]) for tokens in seen], [teacher(tokens[:, 1:]) for tokens in seen]
    rows = [(v, b, place) for v in range(2) for b in range(6) for place in masks[v][b].nonzero()]
    if name == "ibot":
        classes = [((x - model.centre) / 0.05).softmax(dim=1) for x in classes]
        wanted = [((hidden[v][b, p[0]] - model.patch_centre) / 0.05).softmax(dim=0) for v, b, p in rows]
    else:
        classes = sinkhorn(torch.cat(classes), eps=0.05).chunk(2)
        wanted = sinkhorn(torch.stack([hidden[v][b, p[0]] for v, b, p in rows]), eps=0.05)
    of_classes = [
        cross_entropy(projector(student[query][:, 0]), classes[key]).mean()
        for key in range(2)
        for query in range(3)
        if query != key
    ]
    of_patches = sum(
        cross_entropy(projector(student[v][:, 1:])[b, p[0]], target) / masks[v][b].sum() / 12
        for (v, b, p), target in zip(rows, wanted, strict=True)
    )
    expected = 0.5 * torch.stack(of_classes).mean() + 2.0 * of_patches
    torch.testing.assert_close(step["loss"], expected)
    torch.testing.assert_close(step["scalars"]["pretrain/class_loss"], torch.stack(of_classes).mean().detach())
    torch.testing.assert_close(step["scalars"]["pretrain/patch_loss"], of_patches.detach())
    parameters = model.learnable_params
    for found, wanted in zip(*(torch.autograd.grad(x, parameters) for x in (step["loss"], expected)), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_step__masks_depend_on_the_step_and_on_the_view(tiny):
    model, views = make(), batch_of(tiny)["input"][:2]
    first = model.beside_views(views, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.beside_views(views, 0), first, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(model.beside_views(views, 1)[0], first[0])


def test_step__of_which_nothing_is_hidden_still_gives_every_parameter_a_gradient(tiny):
    model = make(mask_prob=0.0)  # processes wait for the gradients of all
    step = model.training_step(batch_of(tiny, shapes=(GLOBAL, GLOBAL)), 0)
    assert step["scalars"]["pretrain/patch_loss"] == 0
    step["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.learnable_params)


def test_step__the_student_alone_drops_branches(tiny):
    model = make(trunk=_vit(depth=3, drop_path=0.9))
    views = batch_of(tiny)["input"][:2]
    views += model.beside_views(views, 0)
    first, again = model.encode_keys(views), model.encode_keys(views)
    assert all(torch.equal(again[index], keys) for index, keys in first.items())
    assert not torch.equal(model.encode_queries(views)[0].q, model.encode_queries(views)[0].q)


class Centres(Callback):
    def __init__(self) -> None:
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.places: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.values.append((pl_module.centre.clone(), pl_module.patch_centre.clone()))
        self.places.append(list(pl_module._places))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_centres__move_to_the_means_of_class_tokens_and_of_hidden_patches(fit, tiny, accumulate):
    model, history = methods.make("ibot", centre_momentum=0.8, optimizer=tiny.still), Centres()
    data = tiny.Views(16, (LOCAL, LOCAL))
    teacher = model.target
    with torch.no_grad():
        scores = torch.stack([teacher.projector(teacher.trunk.tokens(view)) for view in data.views])  # it stands still
    fit(model, data=data, batch_size=4, accumulate_grad_batches=accumulate, callbacks=[history])
    centres, rows = (torch.zeros(6), torch.zeros(6)), ([], [])
    for number, places in enumerate(history.places):
        part = scores[:, 4 * number : 4 * number + 4]
        rows[0].extend(part[:, :, 0].flatten(0, 1))
        for view, one in enumerate(places):
            rows[1].extend(part[view, b, 1 + p] for b in range(4) for p in one[b].tolist() if p >= 0)
        if (number + 1) % accumulate == 0:
            means = [torch.stack(some).mean(dim=0) for some in rows]
            centres = tuple(0.8 * centre + 0.2 * mean for centre, mean in zip(centres, means, strict=True))
            rows = ([], [])
        torch.testing.assert_close(history.values[number], centres)


def test_prototypes__of_both_heads_stay_as_they_are_in_the_first_epochs(fit, tiny):
    model = methods.make("ibot, a head each, sinkhorn", freeze_last_layer_epochs=1)
    before = {name: value.clone() for name, value in model.projector.state_dict().items()}
    fit(model, data=tiny.Views(8, (LOCAL, LOCAL)))
    for name, value in model.projector.state_dict().items():
        assert torch.equal(value, before[name]) == ("prototypes" in name), name


def test_validation_step__gives_the_class_token_of_a_picture_that_is_seen_whole(tiny):
    model, batch = make().eval(), batch_of(tiny)
    features = model.validation_step(batch, 0)
    torch.testing.assert_close(features["h"], model.trunk.tokens(batch["input"][0])[:, 0])
    torch.testing.assert_close(features["z"], model.projector(features["h"]))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"trunk": nn.Flatten()}, "needs a vision transformer with a class token and a mask token"),
        ({"trunk": _vit(pool="mean")}, r"model\.trunk\.pool=token"),
        ({"trunk": _vit(mask_token=False)}, r"model\.trunk\.mask_token=true"),
        ({"projector": DINOHead(8, output_dim=6)}, "gives the scores of class and patch tokens"),
        ({"projector": None}, r"eztorch\.models\.heads\.IBOTHead"),
        ({"projector": IBOTHead(8, output_dim=6, norm_layer="bn_1D")}, r"model\.projector\.norm_layer=null"),
        ({"predictor": nn.Linear(6, 6)}, r"model\.predictor=null"),
        ({"projector": IBOTHead(8, output_dim=6), "normalize_outputs": True}, r"model\.normalize_outputs=false"),
        ({"sym": False}, r"model\.sym=true"),
        ({"num_splits": 2}, r"model\.num_splits=0"),
        ({"num_global_crops": 1, "num_local_crops": 1}, "num_global_crops=1"),
        ({"mask_ratio": [0.5, 0.1]}, r"mask_ratio=\[0\.5, 0\.1\]"),
        ({"mask_ratio": [0.3]}, r"mask_ratio=\[0\.3\]"),
        ({"mask_prob": 1.5}, r"mask_prob=1\.5"),
        ({"patch_coeff": -1}, "patch_coeff=-1"),
        ({"centring": "sinkhornn"}, "Did you mean 'sinkhorn'"),
        ({"temp_m": 0}, "temp_m=0"),
    ],
)
def test_ibot_model__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        methods.make("ibot", **keys)


def test_step__names_shares_that_hide_nothing(tiny):
    with pytest.raises(ConfigError, match=r"mask_ratio=\[0\.1, 0\.2\] hides none of \(2, 2\) patches"):
        make(mask_ratio=[0.1, 0.2]).training_step(batch_of(tiny, shapes=(LOCAL, LOCAL)), 0)
