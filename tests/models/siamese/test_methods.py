"""What holds for every siamese method."""

from __future__ import annotations

import copy
from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import Dataset, default_collate

from eztorch.utils.config import build, problems
from eztorch.utils.errors import ConfigError, DataError

every_method = pytest.mark.parametrize("name", methods.METHODS)


class Clouds(Dataset):
    """Noisy views of a few fixed patterns: there is something to learn."""

    def __init__(self, length: int = 20, shape: tuple[int, ...] = (3, 4, 4)) -> None:
        draws = torch.Generator().manual_seed(3)
        patterns = torch.randn(length, *shape, generator=draws)
        self.views = [patterns + 0.2 * torch.randn(length, *shape, generator=draws) for _ in range(2)]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": [view[index] for view in self.views], "idx": index, "label": index % 4}


class Recorder(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))


@every_method
def test_step__gradient_reaches_every_parameter_that_learns_and_no_other(name):
    model = methods.make(name)
    batch = torch.utils.data.default_collate([Clouds()[i] for i in range(6)])
    model.training_step(batch, 0)["loss"].backward()
    learns = {id(parameter) for parameter in model.learnable_params}
    for key, parameter in model.named_parameters():
        if id(parameter) in learns:
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key
        else:
            assert parameter.grad is None, key


# SimSiam and SwAV stop the gradient of one side of the same networks, so theirs is not the derivative of the loss.
@pytest.mark.parametrize("name", [name for name in methods.METHODS if not name.startswith(("simsiam", "swav"))])
def test_step__the_loss_falls_along_its_gradient_as_the_gradient_says(name):
    model = methods.make(name).double()
    batch = torch.utils.data.default_collate([Clouds()[i] for i in range(12)])
    batch["input"] = [view.double() for view in batch["input"]]
    loss = model.training_step(batch, 0)["loss"]
    gradients = torch.autograd.grad(loss, model.learnable_params)
    slope, step = torch.nn.utils.get_total_norm(gradients).item(), 1e-8
    with torch.no_grad():
        for parameter, gradient in zip(model.learnable_params, gradients, strict=True):
            parameter -= step * gradient / slope
    fallen = loss.item() - model.training_step(batch, 0)["loss"].item()
    assert fallen / step == pytest.approx(slope, rel=1e-2)


@every_method
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_fit__a_short_last_batch_and_accumulation_make_no_difference_to_whether_it_runs(name, precision, fit):
    data = Clouds(length=11)  # batches of 4, 4 and 3
    trainer = fit(methods.make(name), data=data, max_epochs=2, accumulate_grad_batches=2, precision=precision)
    assert trainer.global_step == 4


@every_method
def test_fit__continues_where_it_was_stopped(name, fit, tmp_path):
    whole = methods.make(name)
    fit(whole, data=Clouds(), max_epochs=2)
    first = methods.make(name)

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "first.ckpt")

    fit(first, data=Clouds(), max_epochs=2, callbacks=[Save()])
    second = methods.make(name)
    fit(second, data=Clouds(), max_epochs=2, ckpt_path=str(tmp_path / "first.ckpt"))
    expected = whole.state_dict()
    assert second.state_dict().keys() == expected.keys()
    for key, value in second.state_dict().items():
        assert torch.equal(value, expected[key]), key


@every_method
def test_fit__takes_clips_as_it_takes_images(name, fit):
    model = methods.make(name, **methods.FOR_CLIPS.get(name, {}))
    if name not in methods.FOR_CLIPS:
        model.trunk[0] = nn.AdaptiveAvgPool3d((1, 2, 2))
        if model.branch is not None:
            model.target.trunk[0] = copy.deepcopy(model.trunk[0])
    recorder = Recorder()
    fit(model, data=Clouds(length=8, shape=(3, 2, 4, 4)), callbacks=[recorder])
    assert len(recorder.losses) == 2


@every_method
def test_step__names_the_number_of_views_that_is_missing(name):
    batch = {"input": [torch.randn(4, 3, 4, 4)], "label": torch.zeros(4, dtype=torch.long)}
    with pytest.raises(DataError, match=r"1 view\(s\) and the model expects 2"):
        methods.make(name).training_step(batch, 0)


@every_method
@pytest.mark.parametrize("keys", [{"sym": False}, {"num_global_crops": 1, "num_local_crops": 1}])
def test_step__encodes_every_view_or_the_plan_is_refused(name, keys):
    data = Clouds(length=4)
    batch = default_collate([data[i] for i in range(4)])
    usual = methods.make(name)
    if (usual.branch is not None and not name.startswith("ibot")) or usual.views_with_themselves:
        assert torch.isfinite(methods.make(name, **keys).training_step(batch, 0)["loss"])
    else:
        with pytest.raises(ConfigError, match=r"is both a key and a query|compares all views with one another"):
            methods.make(name, **keys)


@pytest.mark.parametrize(
    ("name", "key", "hint"),
    [
        ("moco", "shufle_bn", "Did you mean 'shuffle_bn'"),
        ("moco", "coeff", "unknown key 'coeff'"),  # of another method
        ("sce", "coef", "Did you mean 'coeff'"),
        ("sce on tokens", "positive_radios", "Did you mean 'positive_radius'"),
        ("sce distillation of tokens", "scheduler_coeff", "unknown key 'scheduler_coeff'"),
    ],
)
def test_build__names_a_key_that_no_group_of_the_method_has(name, key, hint):
    kind, keys = methods.METHODS[name]
    spec = {"_target_": f"eztorch.models.siamese.{kind}", **keys, "trunk": nn.Flatten(), "optimizer": methods.sgd}
    with pytest.raises(ConfigError, match=hint):
        build({**spec, key: 1})
    assert any(hint in problem for problem in problems({**spec, key: 1}))
    assert not list(problems(spec))
