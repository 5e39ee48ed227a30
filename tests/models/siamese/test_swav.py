"""SwAV: frozen prototypes, the queue from its epoch on, local crops."""

from __future__ import annotations

from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import default_collate

from eztorch.losses import sinkhorn, swav_loss
from eztorch.models.heads import PrototypeHead
from eztorch.utils.errors import ConfigError


class History(Callback):
    """Losses of the batches and prototypes at the end of the epochs."""

    def __init__(self) -> None:
        self.losses: list[list[float]] = []
        self.prototypes: list[torch.Tensor] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append([])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses[-1].append(outputs["scalars"]["pretrain/loss"].item())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.prototypes.append(pl_module.predictor.weight.detach().clone())


def _fit(fit: Any, tiny: Any, epochs: int = 3, **keys: Any) -> History:
    history = History()
    fit(methods.make("swav", **keys), data=tiny.Views(12), max_epochs=epochs, callbacks=[history])
    return history


def _decaying(model: Any, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    """Momentum and decay would move weights whose gradient is only zero."""
    return torch.optim.SGD(model.learnable_params, lr=0.1, momentum=0.9, weight_decay=0.1), None


def test_prototypes__stay_as_they_are_in_the_first_epochs_and_learn_afterwards(fit, tiny):
    first = methods.make("swav").predictor.weight
    frozen = _fit(fit, tiny, freeze_prototypes_epochs=2, optimizer=_decaying)
    assert torch.equal(frozen.prototypes[0], first)
    assert torch.equal(frozen.prototypes[1], first)
    assert (frozen.prototypes[2] - first).abs().max() > 1e-4
    free = _fit(fit, tiny, epochs=1, freeze_prototypes_epochs=0, optimizer=_decaying)
    assert (free.prototypes[0] - first).abs().max() > 1e-4


def test_queue__changes_nothing_before_its_epoch(fit, tiny):
    without = _fit(fit, tiny)
    queued = _fit(fit, tiny, queue={"size": 12, "feature_dim": 4}, queue_start_epoch=2)
    assert queued.losses[:2] == without.losses[:2]
    assert all(a != b for a, b in zip(queued.losses[2], without.losses[2], strict=True))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_queue__of_a_crop_holds_its_projections_in_order(fit, tiny, accumulate):
    model = methods.make("swav", queue={"size": 16, "feature_dim": 4}, optimizer=tiny.still)
    data = tiny.Views(12)
    fit(model, data=data, accumulate_grad_batches=accumulate)
    assert len(model.queues) == 2
    for queue, view in zip(model.queues, data.views, strict=True):
        torch.testing.assert_close(queue.features[:12], model.projector(model.trunk(view)))
        assert queue.pointer == 12


def test_step__assigns_with_the_queue_and_predicts_with_all_crops(tiny):
    shapes = ((3, 4, 4), (3, 4, 4), (3, 2, 2))
    model = methods.make(
        "swav", num_local_crops=1, queue={"size": 10, "feature_dim": 4}, queue_start_epoch=0, temp=0.2, eps=0.1
    )
    data = tiny.Views(6, shapes)
    batch = default_collate([data[i] for i in range(6)])
    scores = [model(view) for view in batch["input"]]
    losses = []
    for key in (0, 1):
        everyone = torch.cat([scores[key], model.predictor(model.queues[key].features)])
        assignment = sinkhorn(everyone.detach(), eps=0.1)[:6]
        losses += [swav_loss(scores[query], assignment, temp=0.2) for query in range(3) if query != key]
    torch.testing.assert_close(model.training_step(batch, 0)["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"predictor": None}, "The predictor of SwAV gives the cosines with its prototypes"),
        ({"normalize_outputs": True}, "normalize_outputs=false"),
        ({"sym": False}, "SwAVModel compares all views with one another, whole; write model.sym=true"),
        ({"num_splits": 2}, r"model\.num_splits=0"),
        ({"eps": 0}, "eps=0; expected a value above 0"),
        ({"queue_start_epoch": -1}, "queue_start_epoch=-1"),
        ({"queue": {"size": 4}}, "expected the keys size and feature_dim"),
        ({"projector": None, "predictor": PrototypeHead(4)}, "predictor.input_dim=4, but the trunk gives 8 features"),
    ],
)
def test_swav_model__names_what_cannot_be_used(keys, message):
    trunk = {"trunk": _Trunk()} if "projector" in keys else {}
    with pytest.raises(ConfigError, match=message):
        methods.make("swav", **{**keys, **trunk})


class _Trunk(torch.nn.Linear):
    num_features = 8

    def __init__(self) -> None:
        super().__init__(12, 8)
