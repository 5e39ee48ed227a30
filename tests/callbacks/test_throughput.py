from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.profilers import SimpleProfiler
from tiny_run import TinyData, TinyModule, fit

from eztorch.callbacks import ScalarLogger, ThroughputMonitor, throughput
from eztorch.callbacks.throughput import batch_length


class Clock:
    """A clock that goes on where a test says so, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


class SlowStep(TinyModule):
    clock: Clock

    def training_step(self, batch, batch_idx):
        self.clock.sleep(0.01)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.clock.sleep(0.2)
        return super().validation_step(batch, batch_idx)


def slow_collate(clock):
    def collate(samples):
        clock.sleep(0.03)
        return torch.utils.data.default_collate(samples)

    return collate


def slow_step(clock):
    module = SlowStep()
    module.clock = clock
    return module


class Readings(Callback):
    def __init__(self):
        self.waits, self.speeds = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.waits.append(float(trainer.callback_metrics.get("time/data_wait", -1)))
        self.speeds.append(float(trainer.callback_metrics.get("time/samples_per_s", 0)))


def test_throughput__tells_waiting_from_working(tmp_path, clock):
    readings = Readings()
    callbacks = [ScalarLogger(), ThroughputMonitor(), readings]
    data = TinyData(train=64, collate=slow_collate(clock))
    run = fit(tmp_path, callbacks, module=slow_step(clock), data=data, max_epochs=1, log_every_n_steps=5)
    metrics = {name: float(value) for name, value in run.trainer.callback_metrics.items()}
    # The last window is a step long; Lightning fetched its batch in the window before.
    assert metrics["time/step_ms"] == pytest.approx(40, rel=0.3)
    assert metrics["time/samples_per_s"] == pytest.approx(4000 / metrics["time/step_ms"])
    assert readings.waits[-3:] == pytest.approx([0.75] * 3)
    assert all(speed > 0 for speed in readings.speeds[1:])


def test_throughput__leaves_validation_out(tmp_path, clock):
    run = fit(tmp_path, [ThroughputMonitor(), ScalarLogger()], module=slow_step(clock), val_check_interval=2)
    assert float(run.trainer.callback_metrics["time/step_ms"]) == pytest.approx(10)


def test_throughput__passes_on_to_the_profiler_of_the_user_and_gives_it_back(tmp_path):
    profiler = SimpleProfiler()
    run = fit(tmp_path, [ThroughputMonitor(), ScalarLogger()], profiler=profiler, max_epochs=1)
    assert run.trainer.profiler is profiler
    assert len(profiler.recorded_durations["[_TrainingEpochLoop].train_dataloader_next"]) >= 4
    assert "run_training_batch" in profiler.summary()


def test_throughput__counts_optimizer_steps_when_gradients_accumulate(tmp_path, clock):
    data = TinyData(train=32, collate=slow_collate(clock))
    options = {"accumulate_grad_batches": 4, "max_epochs": 1, "log_every_n_steps": 1}
    run = fit(tmp_path, [ThroughputMonitor(), ScalarLogger()], data=data, **options)
    assert float(run.trainer.callback_metrics["time/step_ms"]) == pytest.approx(4 * 31, rel=0.3)


def test_batch_length__counts_a_sample_once_however_many_views():
    view = torch.zeros(3, 2)
    assert [batch_length({"input": value}) for value in (view, [view, view], None)] == [3, 3, 0]
