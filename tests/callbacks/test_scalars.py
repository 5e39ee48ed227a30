import csv
import math
import sys

import pytest
import torch
from lightning.pytorch import Callback
from tiny_run import TinyData, TinyModule, fit, make_trainer

from eztorch.callbacks import MetricsCSV, ModelCheckpoint, ScalarLogger, ScalarSource, ThroughputMonitor
from eztorch.utils.errors import ConfigError


def rows_of(path):
    with path.open() as lines:
        return {int(row["step"]): row for row in csv.DictReader(lines)}


class Losses(Callback):
    """Keeps the loss and the learning rate of every step, by other means than the code under test."""

    def __init__(self):
        self.losses, self.rates, self.seen = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        self.seen.append(float(trainer.callback_metrics.get("pretrain/loss", math.nan)))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_scalar_logger__writes_window_means_settings_and_learning_rates(tmp_path, precision):
    losses = Losses()
    logger = MetricsCSV(tmp_path / "metrics.csv")
    run = fit(tmp_path, [ScalarLogger(), losses], logger=logger, precision=precision, log_every_n_steps=3)
    rows = rows_of(tmp_path / "metrics.csv")
    # 4 steps an epoch: the first step, step 3, the end of epoch 0; step 6, the end of epoch 1
    windows = {0: [0], 2: [1, 2], 3: [3], 5: [4, 5], 7: [6, 7]}
    assert sorted(rows) == sorted(windows)
    for step, window in windows.items():
        mean = sum(losses.losses[i] for i in window) / len(window)
        assert float(rows[step]["pretrain/loss"]) == pytest.approx(mean, rel=1e-5)
        assert float(rows[step]["pretrain/temp"]) == pytest.approx(0.1 * (1 + step))
        assert float(rows[step]["lr-SGD"]) == pytest.approx(losses.rates[step])
        assert int(rows[step]["epoch"]) == step // 4
    for step in (3, 7):
        mean = sum(losses.losses[step - 3 : step + 1]) / 4
        assert float(rows[step]["pretrain/loss_epoch"]) == pytest.approx(mean, rel=1e-5)
    assert float(run.trainer.callback_metrics["pretrain/loss"]) == pytest.approx(mean, rel=1e-5)
    assert run.trainer.progress_bar_metrics["pretrain/loss"] == pytest.approx(mean, rel=1e-5)


def test_scalar_logger__counts_optimizer_steps_when_gradients_accumulate(tmp_path):
    losses = Losses()
    logger = MetricsCSV(tmp_path / "metrics.csv")
    fit(tmp_path, [ScalarLogger(), losses], logger=logger, accumulate_grad_batches=2, max_epochs=1)
    rows = rows_of(tmp_path / "metrics.csv")
    assert sorted(rows) == [0, 1]
    # Lightning halves the loss of a batch; the scalars are those of the step.
    assert float(rows[1]["pretrain/loss"]) == pytest.approx(sum(losses.losses[2:]), rel=1e-5)


def test_scalar_logger__gives_the_checkpoint_the_mean_of_the_epoch(tmp_path):
    losses = Losses()
    checkpoint = ModelCheckpoint(tmp_path / "ckpt", monitor="pretrain/loss", mode="min", save_top_k=1)
    fit(tmp_path, [ScalarLogger(), losses, checkpoint], enable_checkpointing=True, log_every_n_steps=3)
    means = [sum(losses.losses[i : i + 4]) / 4 for i in (0, 4)]
    assert float(checkpoint.best_model_score) == pytest.approx(min(means), rel=1e-5)


def test_scalar_logger__reads_from_the_device_only_to_write(tmp_path, monkeypatch):
    reads = []

    def watch(name):
        original = getattr(torch.Tensor, name)

        def read(self):
            if sys._getframe(1).f_globals["__name__"].startswith("eztorch"):
                reads.append(name)
            return original(self)

        monkeypatch.setattr(torch.Tensor, name, read)

    for name in ("tolist", "item", "__float__", "cpu"):
        watch(name)
    fit(tmp_path, [ScalarLogger()], log_every_n_steps=4, max_epochs=2)
    assert reads == ["tolist"] * 3  # after steps 1, 4 and 8


class Two(ScalarSource):
    def __init__(self):
        self.seen = []

    def observe(self, outputs, batch):
        self.seen.append(float(outputs["loss"]))

    def collect(self, trainer, pl_module):
        numbers = {"two": 2.0, "mean": torch.tensor(self.seen).mean()}
        self.seen = []
        return numbers


@pytest.mark.parametrize("order", [1, -1])
def test_scalar_source__joins_the_scalars_of_the_steps_in_any_order_of_callbacks(tmp_path, order):
    fit(tmp_path, [Two(), ScalarLogger()][::order], logger=MetricsCSV(tmp_path / "metrics.csv"), max_epochs=1)
    rows = rows_of(tmp_path / "metrics.csv").values()
    assert [row["two"] for row in rows] == ["2.0"] * 3
    assert [float(row["mean"]) for row in rows] == pytest.approx([float(row["pretrain/loss"]) for row in rows])


def test_scalar_source__without_a_scalar_logger_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"Two hands its numbers to ScalarLogger.*add eztorch\.callbacks"):
        fit(tmp_path, [Two()])


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_scalar_source__asks_for_a_scalar_logger_in_training_alone(tmp_path, stage):
    module, data = TinyModule(), TinyData()
    module.predict_step = module.validation_step
    trainer = make_trainer(tmp_path, [Two()])
    getattr(trainer, stage)(module, dataloaders=data.feature_dataloader("val"))
    assert trainer.state.finished


class NoScalars(TinyModule):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx)["loss"]


class Constant(ScalarSource):
    def observe(self, outputs, batch):
        pass

    def collect(self, trainer, pl_module):
        return {"constant": 1.0}


def test_scalar_logger__of_a_module_without_scalars_writes_the_rest(tmp_path):
    logger = MetricsCSV(tmp_path / "metrics.csv")
    fit(tmp_path, [ScalarLogger(), Constant()], logger=logger, module=NoScalars(), max_epochs=1, log_every_n_steps=3)
    rows = rows_of(tmp_path / "metrics.csv")
    assert {step: row["constant"] for step, row in rows.items()} == {0: "1.0", 2: "1.0", 3: "1.0"}
    assert all(float(row["lr-SGD"]) > 0 for row in rows.values())


class TwoGroups(TinyModule):
    def configure_optimizers(self):
        groups = [
            {"params": self.trunk.parameters(), "name": "trunk", "lr": 0.1},
            {"params": self.projector.parameters(), "name": "head", "lr": 0.2},
        ]
        return torch.optim.AdamW(groups)


def test_scalar_logger__names_the_groups_of_an_optimizer(tmp_path):
    run = fit(tmp_path, [ScalarLogger()], module=TwoGroups(), max_epochs=1)
    assert float(run.trainer.callback_metrics["lr-AdamW/trunk"]) == pytest.approx(0.1)
    assert float(run.trainer.callback_metrics["lr-AdamW/head"]) == pytest.approx(0.2)


def test_metrics__of_a_continued_run_are_those_of_an_uninterrupted_one(tmp_path):
    def part(**options):
        checkpoint = ModelCheckpoint(tmp_path / "ckpt", filename="{epoch}", every_n_epochs=2, save_top_k=-1)
        logger = MetricsCSV(tmp_path / "metrics.csv")
        fit(tmp_path, [ScalarLogger(), checkpoint], logger=logger, enable_checkpointing=True, max_epochs=3, **options)
        return logger

    # The first run goes on after its checkpoint, as one that is killed does, and writes more than the second.
    part().log_metrics({"knn/acc_1": 0.5}, step=11)
    whole = rows_of(tmp_path / "metrics.csv")
    part(ckpt_path=str(tmp_path / "ckpt" / "epoch=1.ckpt"))
    rows = rows_of(tmp_path / "metrics.csv")
    assert whole[11].pop("knn/acc_1") == "0.5"
    assert not any(row.pop("knn/acc_1") for row in (*rows.values(), *(whole[step] for step in whole if step != 11)))
    assert rows == whole


def test_scalar_source__needs_a_scalar_logger_in_training_alone(tmp_path):
    make_trainer(tmp_path, [ThroughputMonitor()]).test(TinyModule(), datamodule=TinyData(), verbose=False)
    with pytest.raises(ConfigError, match="ThroughputMonitor hands its numbers to ScalarLogger"):
        fit(tmp_path, [ThroughputMonitor()])
