"""Weight decay as a schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from eztorch.callbacks import WeightDecaySchedule
from eztorch.schedulers import cosine
from eztorch.utils.errors import ConfigError


class Model(LightningModule):
    def __init__(self, weight_decay: float = 0.04) -> None:
        super().__init__()
        self.layer, self.weight_decay = torch.nn.Linear(2, 1), weight_decay

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = [
            {"params": [self.layer.weight], "weight_decay": self.weight_decay},
            {"params": [self.layer.bias], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=0.01)


class Recorder(Callback):
    def __init__(self) -> None:
        self.values: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self.values.append([group["weight_decay"] for group in optimizer.param_groups])


def fit(model: Model, *callbacks: Callback, tmp_path: Any, **options: Any) -> Trainer:
    keys = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    path = options.pop("ckpt_path", None)
    trainer = Trainer(accelerator="cpu", callbacks=list(callbacks), default_root_dir=tmp_path, **{**keys, **options})
    trainer.fit(model, DataLoader(torch.randn(8, 2), batch_size=2), ckpt_path=path)
    return trainer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weight_decay__goes_from_its_first_value_to_the_last_by_optimizer_steps(accumulate, tmp_path):
    recorder = Recorder()
    fit(
        Model(),
        WeightDecaySchedule(0.4),
        recorder,
        tmp_path=tmp_path,
        max_epochs=3,
        accumulate_grad_batches=accumulate,
    )
    steps = 12 // accumulate
    expected = [cosine(step, steps - 1, 0.04, 0.4) for step in range(steps)]
    assert [first for first, _ in recorder.values] == pytest.approx(expected)
    assert expected[-1] == 0.4
    assert {second for _, second in recorder.values} == {0.0}  # what has none gets none


def test_weight_decay__of_a_run_that_is_continued_is_that_of_one_that_was_not(tmp_path):
    whole, rest = Recorder(), Recorder()
    fit(Model(), WeightDecaySchedule(0.4), whole, tmp_path=tmp_path, max_epochs=4)

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "half.ckpt")

    fit(Model(), WeightDecaySchedule(0.4), Save(), tmp_path=tmp_path, max_epochs=4)
    fit(Model(), WeightDecaySchedule(0.4), rest, tmp_path=tmp_path, max_epochs=4, ckpt_path=tmp_path / "half.ckpt")
    assert rest.values == whole.values[8:]


def test_weight_decay__needs_one_to_begin_with(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.optimizer\.params\.weight_decay"):
        fit(Model(weight_decay=0.0), WeightDecaySchedule(0.4), tmp_path=tmp_path, max_epochs=1)
    with pytest.raises(ConfigError, match="final=-1"):
        WeightDecaySchedule(-1)
    with pytest.raises(ConfigError, match="cosine"):
        WeightDecaySchedule(0.4, "cosin")
