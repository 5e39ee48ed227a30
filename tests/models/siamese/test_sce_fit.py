"""SCE under a Trainer: what moves with the optimizer steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from eztorch.modules import ema_update
from eztorch.schedulers import momentum_at
from eztorch.utils.errors import ConfigError


class Recorder(Callback):
    """Keeps the scalars of every batch, and the online and target weights after every optimizer step."""

    def __init__(self) -> None:
        self.scalars: list[dict[str, Any]] = []
        self.online: list[list[torch.Tensor]] = []
        self.target: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.scalars.append(outputs["scalars"])
        if trainer.global_step > len(self.online):
            networks = (pl_module.trunk, pl_module.projector)
            self.online.append([p.detach().clone() for network in networks for p in network.parameters()])
            self.target.append([p.detach().clone() for p in pl_module.target.parameters()])


def _ring(initial: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Contents of a queue after rows entered one by one."""
    queue = initial.clone()
    for number, row in enumerate(rows):
        queue[number % len(queue)] = row
    return queue


@pytest.mark.parametrize("accumulate", [1, 2])
def test_fit__the_target_follows_once_an_optimizer_step_by_the_momentum_of_the_step(tiny, fit, accumulate):
    model = tiny.model(scheduler_momentum="cosine", initial_momentum=0.6)
    expected = [p.detach().clone() for p in model.target.parameters()]
    recorder = Recorder()
    fit(model, max_epochs=2, accumulate_grad_batches=accumulate, callbacks=[recorder])
    steps = {1: 6, 2: 4}[accumulate]  # 3 batches an epoch, the last step of an epoch may have one batch alone
    assert len(recorder.online) == steps
    for step, online in enumerate(recorder.online):
        momentum = momentum_at("cosine", 0.6, step, steps, steps // 2)
        expected = [momentum * target + (1 - momentum) * p for target, p in zip(expected, online, strict=True)]
        torch.testing.assert_close(recorder.target[step], expected)
    assert recorder.scalars[0]["pretrain/momentum_value"] == 0.6
    assert recorder.scalars[-1]["pretrain/momentum_value"] == 1.0
    # The last update has momentum 1, exactly.
    assert all(torch.equal(a, b) for a, b in zip(recorder.target[-1], recorder.target[-2], strict=True))


def test_fit__scalars_follow_their_schedules_in_optimizer_steps(tiny, fit):
    recorder = Recorder()
    model = tiny.model(
        warmup_epoch_coeff=1, coeff=0.5, scheduler_coeff="linear", warmup_epoch_temp_m=2, start_warmup_temp_m=0.1
    )
    fit(model, max_epochs=3, accumulate_grad_batches=2, callbacks=[recorder])
    # 2 steps an epoch of 2 and 1 batches; coeff: warm-up over 2 steps, then down to 0 at the last step, 5.
    per_step = [1.0, 0.75, 0.5, 1 / 3, 1 / 6, 0.0]
    assert [s["pretrain/coeff"] for s in recorder.scalars] == pytest.approx(
        [value for step, value in enumerate(per_step) for _ in range(2 - step % 2)]
    )
    temps = [s["pretrain/temp_m"] for s in recorder.scalars[::3]]
    assert temps == pytest.approx([0.1, 0.075, 0.05])


@pytest.mark.parametrize("size", [24, 20, 40])
@pytest.mark.parametrize(
    ("samples", "accumulate", "steps"),
    [
        (12, 1, [(0, 4), (4, 8), (8, 12)]),
        (12, 2, [(0, 8), (8, 12)]),
        (10, 1, [(0, 4), (4, 8), (8, 10)]),  # a short last batch
        (10, 4, [(0, 10)]),
    ],
)
def test_fit__keys_enter_the_queue_step_by_step_and_view_by_view(tiny, fit, size, samples, accumulate, steps):
    data = tiny.Views(samples)
    model = tiny.model(optimizer=tiny.still, queue={"size": size, "feature_dim": 4})
    initial = model.queue.features.clone()
    keys = [tiny.keys(model, view) for view in data.views]
    fit(model, data=data, accumulate_grad_batches=accumulate)
    rows = torch.cat([keys[view][start:end] for start, end in steps for view in (0, 1)])
    torch.testing.assert_close(model.queue.features, _ring(initial, rows))
    assert int(model.queue.pointer) == len(rows) % size


def test_fit__without_sym_the_keys_of_view_0_alone_enter_the_queue(tiny, fit):
    data = tiny.Views(4)
    model = tiny.model(optimizer=tiny.still, sym=False, queue={"size": 4, "feature_dim": 4})
    expected = tiny.keys(model, data.views[0])
    fit(model, data=data)
    torch.testing.assert_close(model.queue.features, expected)


def test_fit__a_batch_smaller_than_the_others_is_its_own_negatives(tiny, fit):
    recorder = Recorder()
    fit(tiny.model(queue=None, use_keys=True), data=tiny.Views(10), callbacks=[recorder])
    assert len(recorder.scalars) == 3
    assert all(s["pretrain/loss"].isfinite() for s in recorder.scalars)


def test_fit__under_bf16_autocast_loss_and_queue_stay_float32(tiny, fit):
    recorder, model = Recorder(), tiny.model()
    before = copy.deepcopy(model.state_dict())
    fit(model, precision="bf16-mixed", callbacks=[recorder])
    assert model.queue.features.dtype == torch.float32
    torch.testing.assert_close(model.queue.features.norm(dim=1), torch.ones(24))
    assert {s["pretrain/loss"].dtype for s in recorder.scalars} == {torch.float32}
    assert all(s["pretrain/loss"].isfinite() for s in recorder.scalars)
    after = model.state_dict()
    assert all(not torch.equal(after[n], before[n]) for n in ("trunk.2.weight", "target.trunk.2.weight"))


def _with_batch_norm(tiny, **keys: Any):
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8))
    return tiny.model(trunk=trunk, **{"shuffle_bn": True, **keys})


def test_fit__shuffle_bn_on_one_device_splits_the_statistics_of_the_target_alone(tiny, fit):
    names = list(_with_batch_norm(tiny).state_dict())
    model = _with_batch_norm(tiny, simulate_n_devices=2)
    fit(model)
    kinds = [type(module).__name__ for module in model.target.modules()]
    assert [kinds.count(kind) for kind in ("SplitBatchNorm2d", "SplitBatchNorm1d", "BatchNorm2d")] == [1, 1, 0]
    assert not any(type(module).__name__.startswith("Split") for module in model.trunk.modules())
    assert list(model.state_dict()) == names
    assert int(model.target.trunk[1].num_batches_tracked) == 6  # 2 views of 3 batches

    whole = _with_batch_norm(tiny, shuffle_bn=False)
    fit(whole)
    assert not torch.equal(whole.queue.features, model.queue.features)
    whole.load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"simulate_n_devices": 1}, "needs simulate_n_devices of at least 2, got 1"),
        ({"num_devices": 8}, r"num_devices=8, but the run has 1 process"),
        ({"simulate_n_devices": 3}, "simulate_n_devices=3 does not divide a batch of 4 rows"),
    ],
)
def test_fit__impossible_combinations_of_devices_are_errors(tiny, fit, keys, message):
    with pytest.raises(ConfigError, match=message):
        fit(_with_batch_norm(tiny, **keys))


def test_fit__a_moving_average_of_half_precision_is_an_error(tiny, fit):
    """It stands still: weights that differ by 2 % do not come any closer in 1000 steps."""
    target, online = (torch.linspace(1, 2, 1000).bfloat16() * factor for factor in (1.0, 1.02))
    first = target.clone()
    for _ in range(1000):
        ema_update([target], [online], momentum=0.996)
    assert torch.equal(target, first)
    with pytest.raises(ConfigError, match=r"is of torch\.bfloat16.*trainer\.precision=bf16-mixed"):
        fit(tiny.model(), precision="bf16-true")


def test_fit__a_second_fit_begins_without_keys_of_the_first(tiny, fit):
    model = tiny.model(optimizer=tiny.still, queue={"size": 8, "feature_dim": 4})
    model.training_step({"input": [torch.randn(4, 3, 2, 2)] * 2}, 0)  # no optimizer step follows
    data = tiny.Views(4)
    keys = torch.cat([tiny.keys(model, view) for view in data.views])
    fit(model, data=data)
    torch.testing.assert_close(model.queue.features, keys)
