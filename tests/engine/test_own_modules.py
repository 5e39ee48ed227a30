"""Modules and data of a user's own, with batches that are pairs, run by the engine."""

from __future__ import annotations

import json

import pytest

from eztorch.engine.launch import main

MINE = """\
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset


class Module(LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.net = torch.nn.Linear(4, 2)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        return torch.nn.functional.cross_entropy(self.net(inputs), labels)

    def test_step(self, batch, batch_idx):
        inputs, labels = batch
        self.log("test/acc", (self.net(inputs).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Data(LightningDataModule):
    def train_dataloader(self):
        inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), 8)

    test_dataloader = train_dataloader
"""
EXPERIMENT = """\
defaults: [base, _self_]
model: {{_target_: mine_of_a_user.Module}}
datamodule: {{_target_: mine_of_a_user.Data}}
trainer: {{accelerator: cpu, devices: 1, max_epochs: 1}}
dir: {{root: {root}, exp: mine, data: null}}
report: false
"""

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*is smaller than the logging interval", "ignore:The `srun` command"
)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    (tmp_path / "mine_of_a_user.py").write_text(MINE)
    (tmp_path / "mine.yaml").write_text(EXPERIMENT.format(root=tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return ["-cp", str(tmp_path), "-cn", "mine"]


def test_a_user_s_own_module_and_data__train_and_are_tested(experiment, tmp_path, capsys):
    assert main("supervised", experiment) == 0
    metrics = json.loads((tmp_path / "mine" / "metrics.json").read_text())
    assert 0 <= metrics["test/acc"] <= 1
    assert metrics["time/samples_per_s"] > 0
    assert main("test", experiment) == 2
    assert "evaluation.predictions=false tests without" in capsys.readouterr().err
    assert main("test", [*experiment, "evaluation.predictions=false"]) == 0


def test_a_user_s_own_module_and_data__are_rehearsed(experiment, tmp_path, capsys):
    assert main("supervised", [*experiment, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "8 samples, 1 view of 8 x 4, float32 for each process" in told
    assert "4 optimizer steps in 1 epochs" in told
    assert not (tmp_path / "mine").exists()
