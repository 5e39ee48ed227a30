"""What is particular of SCE on tokens and of its distillation; test_methods.py has what holds for every method."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from eztorch.losses import sce_token_loss
from eztorch.models.siamese import SCEDistillTokensModel, SCETokensModel
from eztorch.utils.config import locate
from eztorch.utils.errors import ConfigError, DataError


def _trunk(dim: int = 8) -> nn.Module:
    """Three tokens of an image of three channels of 2 x 2."""
    return nn.Sequential(nn.Flatten(2), nn.Linear(4, dim), nn.Tanh())


def _tokens(tiny: SimpleNamespace, kind: type = SCETokensModel, **keys: Any) -> Any:
    torch.manual_seed(0)
    networks = {"trunk": _trunk(), "projector": nn.Linear(8, 4), "predictor": nn.Linear(4, 4), "optimizer": tiny.sgd}
    return kind(**{**networks, "queue": {"size": 20, "feature_dim": 4}, **keys})


def _distill(tiny: SimpleNamespace, **keys: Any) -> SCEDistillTokensModel:
    torch.manual_seed(1)
    return _tokens(tiny, SCEDistillTokensModel, **{"teacher": nn.Sequential(_trunk(4)), **keys})


def _batch(views: int = 2, **more: Any) -> dict[str, Any]:
    draws = torch.Generator().manual_seed(2)
    return {"input": [torch.randn(5, 3, 2, 2, generator=draws) for _ in range(views)], **more}


@pytest.mark.parametrize("sym", [False, True])
@pytest.mark.parametrize("all_keys", [False, True])
def test_sce_tokens__loss_is_that_of_the_pairs_of_views(tiny, sym, all_keys):
    model = _tokens(
        tiny, sym=sym, use_keys=not all_keys, use_all_keys=all_keys, positive_radius=1, normalize_positive_coeff=True
    )
    views = _batch()["input"]
    keys = [F.normalize(model.target.projector(model.target.trunk(view)), dim=2).detach() for view in views]
    queries = [F.normalize(model(view), dim=2) for view in views]
    settings = {"temp": 0.1, "temp_m": 0.05, "coeff": 0.5, "positive_radius": 1, "normalize_positive_coeff": True}
    losses = [
        sce_token_loss(
            queries[1 - key],
            keys[key],
            queue=model.queue.features,
            use_keys=not all_keys,
            keys=keys[key] if all_keys else None,
            **settings,
        )
        for key in ((0, 1) if sym else (0,))
    ]
    outputs = model.training_step(_batch(), 0)
    torch.testing.assert_close(outputs["loss"], sum(losses) / len(losses))


def test_sce_tokens__tokens_of_a_sample_enter_the_queue_one_after_another(tiny, fit):
    model = _tokens(tiny, optimizer=tiny.still, sym=True, initial_momentum=1.0, queue={"size": 24, "feature_dim": 4})
    data = tiny.Views(4)
    keys = [F.normalize(model.target.projector(model.target.trunk(view)), dim=2) for view in data.views]
    fit(model, data=data)
    torch.testing.assert_close(model.queue.features, torch.cat([key.flatten(0, 1) for key in keys]).detach())


@pytest.mark.parametrize("kind", ["target", "teacher"])
def test_tokens__steps_return_the_means_over_the_tokens_of_a_sample(tiny, kind):
    model = _tokens(tiny) if kind == "target" else _distill(tiny, num_global_crops=2)
    batch = _batch()
    first = model.plan.query_views[0]
    training, validation = model.training_step(batch, 0), model.validation_step({"input": batch["input"][first]}, 0)
    h = model.trunk(batch["input"][first])
    expected = {
        "h": h,
        "z": F.normalize(model.projector(h), dim=2),
        "q": F.normalize(model(batch["input"][first]), dim=2),
    }
    for name, x in expected.items():
        torch.testing.assert_close(training[name], x.mean(dim=1).detach())
        torch.testing.assert_close(validation[name], x.mean(dim=1))


@pytest.mark.parametrize("use_all_keys", [False, True])
def test_tokens__chance_level_is_the_loss_of_collapsed_features(tiny, use_all_keys):
    same = torch.ones(1, 3, 2, 2)
    for kind in (_tokens, _distill):
        model = kind(tiny, use_keys=not use_all_keys, use_all_keys=use_all_keys, num_global_crops=2)
        assert model.chance_level is None
        model.queue.features.copy_(model.normalized(torch.ones(20, 4)))
        for network in (model, getattr(model, "target", None), getattr(model, "teacher", None)):
            for parameter in network.parameters() if network is not None else ():
                parameter.data.fill_(0.1)
        outputs = model.training_step({"input": [same.repeat(5, 1, 1, 1)] * 2}, 0)
        assert float(outputs["loss"].detach()) == pytest.approx(model.chance_level, rel=1e-5)


def test_sce_tokens__schedules_are_functions_of_the_step(tiny):
    model = _tokens(
        tiny, start_warmup_temp_m=0.03, temp_m=0.07, warmup_epoch_temp_m=1, warmup_scheduler_temp_m="linear"
    )
    model.steps_per_epoch = 2
    assert model.training_step(_batch(), 0)["scalars"]["pretrain/temp_m"] == 0.03
    assert model.schedules.temp_m_at(1, steps_per_epoch=2, total_steps=4) == pytest.approx(0.05)


def test_distillation__compares_every_view_with_the_teacher_of_the_same_view(tiny):
    model = _distill(tiny, num_global_crops=3)
    batch = _batch(3)
    losses = [
        sce_token_loss(
            F.normalize(model(view), dim=2),
            F.normalize(model.teacher.network(view), dim=2).detach(),
            temp=0.1,
            temp_m=0.05,
            coeff=0.5,
            use_keys=True,
            queue=model.queue.features,
        )
        for view in batch["input"]
    ]
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], sum(losses) / 3)


class _WithFeatures(Dataset):
    """What a teacher would say, given with the samples."""

    def __init__(self, data: Dataset, teacher: nn.Module | None) -> None:
        self.data, self.teacher = data, teacher

    def __len__(self) -> int:
        return len(self.data)

    @torch.no_grad()
    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.data[index]
        view = sample["input"][0]
        given = {} if self.teacher is None else {"features": self.teacher(view[None])[0]}
        return {**sample, "input": [view], **given}


def test_distillation__of_given_features_is_that_of_the_teacher_who_would_give_them(tiny, fit):
    online, offline = _distill(tiny), _distill(tiny, teacher=None)
    teacher = copy.deepcopy(online.teacher.network)
    fit(online, data=_WithFeatures(tiny.Views(12), None), max_epochs=2)
    fit(offline, data=_WithFeatures(tiny.Views(12), teacher), max_epochs=2)
    state = offline.state_dict()
    assert set(online.state_dict()) - set(state) == {"teacher.network.0.1.weight", "teacher.network.0.1.bias"}
    for name, value in state.items():
        torch.testing.assert_close(online.state_dict()[name], value)


def test_distillation__given_features_enter_the_queue_once_for_all_views(tiny):
    model = _distill(tiny, teacher=None, num_global_crops=2)
    features = torch.randn(5, 3, 4)
    model.training_step(_batch(features=features), 0)
    model.after_optimizer_step(0)
    assert int(model.queue.pointer) == 15
    torch.testing.assert_close(model.queue.features[:15], F.normalize(features, dim=2).flatten(0, 1))


def test_distillation__the_teacher_stays_as_it_is(tiny, fit):
    teacher = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), _trunk(4))
    before = copy.deepcopy(teacher.state_dict())
    model = _distill(tiny, teacher=teacher)
    model.requires_grad_(True).train()
    fit(model, data=_WithFeatures(tiny.Views(8), None))
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    torch.testing.assert_close(model.teacher.network.state_dict(), before, rtol=0, atol=0)


def _checkpoint(tiny: SimpleNamespace, fit: Any, folder: Any) -> tuple[SCETokensModel, str]:
    trained = _tokens(tiny)
    trainer: Trainer = fit(trained, data=tiny.Views(8))
    path = str(folder / "pretrained.ckpt")
    trainer.save_checkpoint(path)
    return trained, path


def test_distillation__teacher_comes_from_the_checkpoint_of_a_run(tiny, fit, tmp_path):
    trained, path = _checkpoint(tiny, fit, tmp_path)
    model = _distill(tiny, teacher=_trunk(), teacher_weights=path, queue=None)
    torch.testing.assert_close(model.teacher.network.state_dict(), trained.trunk.state_dict(), rtol=0, atol=0)
    target = _distill(tiny, teacher=_trunk(), teacher_weights=path, teacher_prefix="target.trunk.")
    expected = trained.target.trunk.state_dict()
    torch.testing.assert_close(target.teacher.network.state_dict(), expected, rtol=0, atol=0)
    torch.save(trained.trunk.state_dict(), tmp_path / "plain.pt")
    plain = _distill(tiny, teacher=_trunk(), teacher_weights=str(tmp_path / "plain.pt"), teacher_prefix="")
    torch.testing.assert_close(plain.teacher.network.state_dict(), trained.trunk.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"teacher_weights": "nowhere.ckpt"}, "teacher_weights=nowhere.ckpt: there is no such file"),
        ({"teacher_prefix": "model."}, "no weights begin with model.teacher_prefix='model.'.*predictor., projector."),
        ({"teacher": _trunk(5)}, "(?s)has weights of another model.teacher.*size mismatch"),
        ({"teacher": nn.Sequential(nn.Flatten(2))}, r"has too many weights for model.teacher: 1.weight, 1.bias \(2"),
        ({"teacher": nn.Sequential(*_trunk(), nn.LayerNorm(8))}, r"lacks weights for model.teacher: 3.weight"),
    ],
)
def test_distillation__names_weights_that_do_not_fit(tiny, fit, tmp_path, changed, message):
    keys = {"teacher": _trunk(), "teacher_weights": _checkpoint(tiny, fit, tmp_path)[1], **changed}
    with pytest.raises(ConfigError, match=message):
        _distill(tiny, **keys)


@pytest.mark.parametrize(
    ("features", "message"),
    [({}, "are not there; .*write model.teacher"), ({"features": torch.ones(5, 4)}, r"of shape \(5, 4\)")],
)
def test_distillation__names_features_that_are_missing(tiny, features, message):
    with pytest.raises(DataError, match=message):
        _distill(tiny, teacher=None).training_step(_batch(1, **features), 0)


@pytest.mark.parametrize(
    ("make", "keys", "message"),
    [
        (_tokens, {"use_all_keys": True}, "use_keys=true and use_all_keys=true"),
        (_tokens, {"queue": None, "use_keys": False}, r"no negatives.*queue\.size"),
        (_tokens, {"queue": None, "num_out_tokens": 3, "positive_radius": 1}, "among 3 with positive_radius=1"),
        (_tokens, {"keep_aligned_positive": False}, "keep_aligned_positive=false"),
        (_tokens, {"positive_radius": -1}, "positive_radius=-1"),
        (_tokens, {"num_out_tokens": 0}, "num_out_tokens=0"),
        (_tokens, {"temp": 0.0}, "temp=0.0"),
        (_tokens, {"scheduler_coeff": "cosin"}, "scheduler_coeff.*cosine"),
        (_distill, {"temp_m": 0.0}, "temp_m=0.0"),
        (_distill, {"coeff": 2.0}, "coeff=2.0"),
        (_distill, {"sym": True}, "write model.sym=false"),
    ],
)
def test_tokens__names_what_cannot_be_before_training_starts(tiny, make, keys, message):
    with pytest.raises(ConfigError, match=message):
        make(tiny, **keys)


@pytest.mark.parametrize(
    ("make", "keys", "message"),
    [
        (_tokens, {"trunk": nn.Sequential(nn.Flatten(), nn.Linear(12, 8))}, r"\(B, T, D\).*shape \(5, 4\)"),
        (_tokens, {"num_out_tokens": 4}, "num_out_tokens=4, but a sample has 3 tokens"),
        (_distill, {"teacher": _trunk(6), "queue": None}, "3 tokens of length 4 .* 3 of length 6"),
        (_distill, {"teacher": nn.Flatten(1, 1), "queue": None}, r"features of shape \(5, 3, 2, 2\)"),
        (_distill, {"queue": {"size": 4, "feature_dim": 3}}, "queue.feature_dim=3, but the keys have 4"),
    ],
)
def test_tokens__names_tokens_that_cannot_be_compared(tiny, make, keys, message):
    model = make(tiny, num_global_crops=2, **keys)
    with pytest.raises(ConfigError, match=message):
        model.training_step(_batch(), 0)


def test_names__of_the_predecessor_are_found():
    names = ["eztorch.models.siamese.SCEDistillTokens", "eztorch.models.siamese.sce_tokens.SCEDistillTokens"]
    assert {locate(name) for name in names} == {SCEDistillTokensModel}
    assert locate("eztorch.models.siamese.sce_tokens.SCETokensModel") is SCETokensModel
