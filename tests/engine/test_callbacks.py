from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar

from eztorch.callbacks import NetworkSummary, ProgressBar, ThroughputMonitor
from eztorch.engine.callbacks import FEATURE_TASKS, build_callbacks
from eztorch.utils.errors import ConfigError

OF_TRAINING = {
    "knn": {"_target_": "eztorch.callbacks.KNNEvaluator"},
    "checkpoint": {"_target_": "eztorch.callbacks.ModelCheckpoint", "monitor": "pretrain/loss"},
    "rates": {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor"},
    "speed": {"_target_": "eztorch.callbacks.ThroughputMonitor"},
    "collapse": {"_target_": "eztorch.callbacks.CollapseMonitor"},
    "stop": {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "pretrain/loss"},
    "other_bar": {"_target_": "lightning.pytorch.callbacks.RichProgressBar"},
    "failures": None,
}


@pytest.mark.parametrize("task", FEATURE_TASKS)
def test_build_callbacks__leaves_out_what_waits_for_training_where_features_are_taken(tmp_path, task):
    built = build_callbacks({"callbacks": OF_TRAINING}, task, tmp_path)
    assert [type(one) for one in built] == [ProgressBar, RichProgressBar]  # which acts then
    assert build_callbacks({"callbacks": {"progress_bar": None}}, task, tmp_path) == []


def test_build_callbacks__keeps_all_of_them_in_training(tmp_path):
    built = build_callbacks({"callbacks": OF_TRAINING}, "pretrain", tmp_path)
    assert len([one for one in built if isinstance(one, ThroughputMonitor)]) == 2


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("switch", "kind"),
    [
        ("enable_model_summary", NetworkSummary),
        ("enable_checkpointing", Checkpoint),
        ("enable_progress_bar", ProgressBar),
    ],
)
def test_build_callbacks__leaves_out_its_own_where_the_trainer_is_to_go_without(tmp_path, switch, kind, asked):
    built = build_callbacks({"trainer": {switch: asked}}, "pretrain", tmp_path)
    assert any(isinstance(one, kind) for one in built) == asked


def test_build_callbacks__refuses_what_is_no_callback(tmp_path):
    spec = {"_target_": "fractions.Fraction", "numerator": 1}
    with pytest.raises(ConfigError, match=r"callbacks: fractions\.Fraction gives a Fraction; expected a callback"):
        build_callbacks({"callbacks": {"mine": spec}}, "pretrain", tmp_path)
