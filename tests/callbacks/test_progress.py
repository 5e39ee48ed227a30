import io
import re
import time
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback
from tiny_run import TinyData, TinyModule, fit, make_trainer

from eztorch.callbacks import ProgressBar, ScalarLogger, ThroughputMonitor, progress
from eztorch.callbacks.progress import _duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def callbacks(stream, **options):
    # The bar stands first: it shows the numbers of the epoch that is over all the same.
    return [ProgressBar(stream=stream, **options), ThroughputMonitor(), ScalarLogger()]


def test_progress__prints_a_plain_line_an_epoch(tmp_path):
    stream = io.StringIO()
    run = fit(tmp_path, callbacks(stream), enable_progress_bar=True, max_epochs=3)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in stream.getvalue()
    for epoch, line in enumerate(lines, start=1):
        assert re.match(
            rf"epoch {epoch}/3 \| step 4/4 \| pretrain/loss [\d.]+ \| [\d.e+]+ samples/s \| waiting for data \d+%", line
        )
    assert lines[0].endswith("left")
    assert not lines[2].endswith("left")
    assert f"pretrain/loss {float(run.trainer.callback_metrics['pretrain/loss_epoch']):.4g} |" in lines[2]


class SlowStep(TinyModule):
    def training_step(self, batch, batch_idx):
        time.sleep(0.02)
        return super().training_step(batch, batch_idx)


def test_progress__prints_a_plain_line_every_interval(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class TimedStep(TinyModule):
        def training_step(self, batch, batch_idx):
            clock.now += 2.0
            return super().training_step(batch, batch_idx)

    stream = io.StringIO()
    fit(tmp_path, callbacks(stream, interval=5.0), module=TimedStep(), enable_progress_bar=True, max_epochs=1)
    assert re.findall(r"step (\d)/4", stream.getvalue()) == ["3", "4"]
    assert re.search(r"epoch 1/1 \| step 3/4.* \| 0:00:02 left", stream.getvalue())


def test_progress__on_a_terminal_is_a_bar(tmp_path):
    stream = Terminal()
    fit(tmp_path, callbacks(stream), module=SlowStep(), data=TinyData(64), enable_progress_bar=True, max_epochs=1)
    text = stream.getvalue()
    assert "\x1b[" in text
    assert "━" in text
    assert re.search(r"step \d+/16", text)
    assert text.endswith("\x1b[?25h") or "\x1b[?25h" in text.splitlines()[-1]  # the cursor is there again


def test_progress__only_shows_on_rank_zero(tmp_path):
    stream = io.StringIO()
    bar = ProgressBar(stream=stream)
    trainer = make_trainer(tmp_path, [bar], enable_progress_bar=True)
    trainer.strategy.__class__ = type("Second", (type(trainer.strategy),), {"is_global_zero": False})
    bar.setup(trainer, TinyModule(), "fit")
    trainer.fit(TinyModule(), datamodule=TinyData())
    assert stream.getvalue() == ""


def test_progress__shows_the_test_loop(tmp_path):
    stream = io.StringIO()
    trainer = make_trainer(tmp_path, [ProgressBar(stream=stream, interval=0.0)], enable_progress_bar=True)
    trainer.test(TinyModule(), datamodule=TinyData(), verbose=False)
    assert stream.getvalue().splitlines() == ["test | batch 1/2", "test | batch 2/2"]


class Stop(Callback):
    def on_train_batch_end(self, *_):
        raise KeyError("stop")


def test_progress__gives_the_terminal_back_after_an_error(tmp_path):
    stream = Terminal()
    with pytest.raises(KeyError):
        fit(tmp_path, [*callbacks(stream), Stop()], enable_progress_bar=True)
    assert "\x1b[?25h" in stream.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05")])
def test_duration__is_hours_minutes_seconds(seconds, text):
    assert _duration(seconds) == text
