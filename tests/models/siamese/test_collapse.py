"""What keeps methods without negatives from collapsing, and that a run without it is warned of."""

from __future__ import annotations

import math
import warnings
from typing import Any

import methods
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, default_collate

from eztorch.callbacks import CollapseMonitor, ScalarLogger
from eztorch.models.siamese import BYOLModel, Features, SiameseModel, SimSiamModel

# Methods with a moving average; a name tells it without making the model once more.
WITH_TARGET = [name for name in methods.METHODS if methods.make(name).branch is not None]


class Noisy(Dataset):
    """Two views of patterns, of which noise is the half."""

    def __init__(self, length: int = 64) -> None:
        draws = torch.Generator().manual_seed(3)
        patterns = torch.randn(length, 3, 4, 4, generator=draws)
        self.views = [patterns + torch.randn(length, 3, 4, 4, generator=draws) for _ in range(2)]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input": [view[index] for view in self.views], "label": index % 4}


def _fast(model: SiameseModel, num_steps_per_epoch: int) -> tuple[torch.optim.Optimizer, None]:
    return torch.optim.SGD(model.learnable_params, lr=1.0, momentum=0.9, weight_decay=1e-4), None


def _networks() -> dict[str, Any]:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(48, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU())
    predictor = nn.Sequential(nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 16))
    return {"trunk": trunk, "projector": nn.Linear(32, 16), "predictor": predictor, "optimizer": _fast}


class _WithoutStop(SiameseModel):
    """SimSiam whose gradient goes to both sides."""

    def compute_loss(self, queries: Any, keys: Any, batch: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.mean_over_pairs(
            queries, lambda q, view: -F.cosine_similarity(q, queries[view].z[0], dim=1).mean()
        ), {}


_MOMENTUM = {"initial_momentum": 0.5, "scheduler_momentum": "constant"}
HEALTHY = {
    "byol": lambda: BYOLModel(**_networks(), **_MOMENTUM),
    "simsiam": lambda: SimSiamModel(**_networks()),
}
COLLAPSING = {
    "byol without predictor": lambda: BYOLModel(**{**_networks(), "predictor": None}, **_MOMENTUM),
    "simsiam without predictor": lambda: SimSiamModel(**{**_networks(), "predictor": None}),
    "simsiam without stopped gradient": lambda: _WithoutStop(sym=True, **_networks()),
}


def _watch(fit: Any, model: SiameseModel) -> dict[str, float]:
    """Fit for 240 steps; returns what the health monitor measured at the end."""
    monitor = CollapseMonitor(rows=64, every_n_steps=10, warmup_steps=50)
    trainer = fit(model, data=Noisy(), batch_size=32, max_epochs=120, callbacks=[ScalarLogger(), monitor])
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("name", COLLAPSING)
def test_collapse__a_forced_one_is_warned_of(name, fit):
    with pytest.warns(UserWarning, match="looks collapsed at step .*standard deviation of the projections") as caught:
        health = _watch(fit, COLLAPSING[name]())
    assert sum("looks collapsed" in str(warning.message) for warning in caught) == 1
    assert health["health/std"] < 0.1 / math.sqrt(16)


@pytest.mark.parametrize("name", HEALTHY)
def test_collapse__a_healthy_run_of_the_same_length_is_not(name, fit):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*looks collapsed")
        health = _watch(fit, HEALTHY[name]())
    assert health["health/std"] > 0.5 / math.sqrt(16)
    assert health["health/effective_rank"] > 4


def _leaves(model: SiameseModel) -> tuple[dict[int, Features], dict[int, torch.Tensor], dict[str, Any]]:
    """Features and keys of a batch as leaves, to see where a loss sends its gradient."""
    batch = default_collate([Noisy()[i] for i in range(12)])
    views = [*batch["input"], *model.beside_views(batch["input"], 0)]
    keys = {view: key.clone().requires_grad_() for view, key in model.encode_keys(views).items()}
    queries = {
        view: Features(*(x.detach().clone().requires_grad_() for x in features))
        for view, features in model.encode_queries(views).items()
    }
    return queries, keys, batch


@pytest.mark.parametrize("name", [*WITH_TARGET, "simsiam", "nnclr", "swav", "swav with a queue"])
def test_loss__sends_its_gradient_to_the_predictions_alone(name):
    model = methods.make(name)
    queries, keys, batch = _leaves(model)
    assert bool(keys) == (name in WITH_TARGET)
    model.compute_loss(queries, keys, batch)[0].backward()
    assert all(key.grad is None for key in keys.values())
    for features in queries.values():
        assert features.z.grad is None
        assert features.q.grad.abs().sum() > 0


class _Follow(Callback):
    """Compares the target after each batch with the moving average written out."""

    def __init__(self, momenta: list[float], accumulate: int) -> None:
        self.momenta, self.accumulate = momenta, accumulate
        self.seen: list[float] = []
        self.before: list[torch.Tensor] = []

    def _target(self, model: Any) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in model.target.parameters()]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.before = self._target(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, **_: Any
    ) -> None:
        after = self._target(pl_module)
        if (batch_idx + 1) % self.accumulate:
            assert all(torch.equal(a, b) for a, b in zip(after, self.before, strict=True))
            return
        momentum = self.momenta[trainer.global_step - 1]
        networks = [pl_module.trunk, pl_module.projector]
        online = [parameter.detach() for network in networks for parameter in network.parameters()]
        for new, old, source in zip(after, self.before, online, strict=True):
            torch.testing.assert_close(new, momentum * old + (1 - momentum) * source, rtol=1e-6, atol=1e-7)
        self.seen.append(outputs["scalars"]["pretrain/momentum_value"])
        moved = max(float((a - b).abs().max()) for a, b in zip(after, self.before, strict=True))
        assert (moved > 1e-6) == (momentum < 1)


@pytest.mark.parametrize("name", WITH_TARGET)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_target__moves_by_the_schedule_once_an_optimizer_step(name, accumulate, fit):
    batches, epochs, initial = 4, 3, 0.6
    last = batches // accumulate * epochs - 1
    momenta = [1 - (1 - initial) * (math.cos(math.pi * step / last) + 1) / 2 for step in range(last + 1)]
    follow = _Follow(momenta, accumulate)
    model = methods.make(name, initial_momentum=initial, scheduler_momentum="cosine")
    fit(
        model,
        data=Noisy(32),
        batch_size=8,
        max_epochs=epochs,
        accumulate_grad_batches=accumulate,
        callbacks=[follow],
    )
    assert follow.seen == pytest.approx(momenta)
    assert follow.seen[-1] == 1.0
