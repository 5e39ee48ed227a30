import math
import warnings

import pytest
import torch
from tiny_run import TinyModule, fit

from eztorch.callbacks import CollapseMonitor, ScalarLogger


class Scripted(TinyModule):
    """Gives features and losses that a test chose."""

    def __init__(self, features, loss=1.0):
        super().__init__(lr=0.0)
        self.features, self.loss = features, loss

    def training_step(self, batch, batch_idx):
        outputs = super().training_step(batch, batch_idx)
        outputs["z"] = self.features(self.global_step)
        outputs["loss"] = outputs["loss"] * 0 + self.loss
        return outputs


def spread(step, dimension=16):
    return torch.randn(4, dimension, generator=torch.Generator().manual_seed(step))


def constant(step):
    return torch.ones(4, 16) + 1e-4 * spread(step)


def line(step):
    return spread(step)[:, :1] * torch.ones(1, 16)


def watch(path, module, **options):
    monitor = CollapseMonitor(every_n_steps=2, warmup_steps=4, patience=3, **options)
    run = fit(path, [ScalarLogger(), monitor], module=module, max_epochs=6)
    return {name: float(value) for name, value in run.trainer.callback_metrics.items()}


def test_collapse__a_healthy_run_is_measured_and_not_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*(many workers|logging interval|LeafSpec|srun)")
        metrics = watch(tmp_path, Scripted(spread))
    assert metrics["health/std"] == pytest.approx(1 / math.sqrt(16), rel=0.1)
    assert metrics["health/effective_rank"] > 13
    assert 1 < metrics["health/effective_rank_h"] < 6
    assert metrics["health/loss_over_chance"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Scripted(constant), r"at step 8: the standard deviation of the projections is .* have 0\.25\); their eff"),
        (Scripted(line), r"at step 8: their effective rank is 1\.00 of 16 dimensions; so in each of the last 3 read"),
        (
            Scripted(lambda step: spread(step) * math.nan),
            r"step 8: health/std is nan; health/effective_rank is nan; so",
        ),
        (Scripted(spread, loss=2.0), r"at step 8: the loss is 100\.0% of its chance level"),
    ],
)
def test_collapse__is_warned_of_once_with_the_numbers(tmp_path, module, text):
    with pytest.warns(UserWarning, match=text) as caught:
        watch(tmp_path, module)
    assert sum("looks collapsed" in str(warning.message) for warning in caught) == 1


def test_collapse__a_reading_that_recovers_starts_the_count_again(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ".*(many workers|logging interval|LeafSpec|srun)")
        watch(tmp_path, Scripted(lambda step: constant(step) if step % 8 < 4 else spread(step)), rows=4)


def test_collapse__keeps_the_newest_rows(tmp_path):
    # 24 steps of 4 rows: those before the last two steps are one point, the last two another.
    module = Scripted(lambda step: torch.eye(16)[4:8] if step >= 22 else torch.ones(4, 16))
    metrics = watch(tmp_path, module, rows=8, min_std=0.0, min_rank=0.0)
    assert metrics["health/effective_rank"] == pytest.approx(4)


def test_collapse__undoes_the_division_of_the_loss_by_accumulated_batches(tmp_path):
    monitor = CollapseMonitor()
    module = Scripted(spread)
    run = fit(tmp_path, [monitor, ScalarLogger()], module=module, accumulate_grad_batches=4)
    assert float(run.trainer.callback_metrics["health/loss_over_chance"]) == pytest.approx(0.5)
