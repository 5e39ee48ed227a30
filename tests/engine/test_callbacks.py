from __future__ import annotations

import sys

import pytest
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar

from eztorch.callbacks import FailureMonitor, ModelCheckpoint, NetworkSummary, ProgressBar, ThroughputMonitor
from eztorch.engine.callbacks import FEATURE_TASKS, build_callbacks, build_loggers
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


def test_build_callbacks__takes_keys_alone_for_those_of_the_default_of_that_name(tmp_path):
    asked = {"callbacks": {"failures": {"max_failure_share": 2}}}
    with pytest.raises(ConfigError, match="max_failure_share=2"):
        build_callbacks(asked, "pretrain", tmp_path)
    asked["callbacks"]["failures"] = {"max_failure_shar": 0.5}
    with pytest.raises(ConfigError, match=r"FailureMonitor.*Did you mean 'max_failure_share'"):
        build_callbacks(asked, "pretrain", tmp_path)
    asked["callbacks"]["failures"] = {"max_failure_share": 0.5}
    kinds = [type(one).__name__ for one in build_callbacks(asked, "pretrain", tmp_path)]
    assert kinds == [type(one).__name__ for one in build_callbacks({}, "pretrain", tmp_path)]


def test_build_callbacks__leaves_out_keys_of_a_default_that_the_task_has_not(tmp_path):
    built = build_callbacks({"callbacks": {"views": {"num_samples": 2}}}, "test", tmp_path)
    assert "ViewRecorder" not in {type(one).__name__ for one in built}
    with pytest.raises(ConfigError, match=r"callbacks\.mine: expected a mapping with a _target_"):
        build_callbacks({"callbacks": {"mine": {"num_samples": 2}}}, "test", tmp_path)


def keeps(**keys):
    return {"_target_": "eztorch.callbacks.ModelCheckpoint", "save_top_k": -1, **keys}


def test_build_callbacks__keep_every_epoch_beside_the_last(tmp_path):
    built = build_callbacks(
        {"callbacks": {"all": keeps(every_n_epochs=1), "some": keeps(every_n_epochs=5)}}, "pretrain", tmp_path
    )
    keys = [one.state_key for one in built if isinstance(one, ModelCheckpoint)]
    assert len(set(keys)) == len(keys) == 3


def test_build_callbacks__refuses_two_whose_states_a_checkpoint_could_not_tell_apart(tmp_path):
    asked = {"first": keeps(dirpath="a"), "second": keeps(dirpath="b")}
    with pytest.raises(ConfigError, match=r"callbacks\.first and callbacks\.second cannot be told apart"):
        build_callbacks({"callbacks": asked}, "pretrain", tmp_path)


def test_build_callbacks__adds_keys_without_a_target_to_the_default(tmp_path):
    config = {"callbacks": {"failures": {"max_failure_share": 0.25}, "progress_bar": None}}
    callbacks = {type(callback): callback for callback in build_callbacks(config, "supervised", tmp_path)}
    assert callbacks[FailureMonitor]._max_failure_share == 0.25
    assert callbacks[FailureMonitor]._file == tmp_path / "failed_samples.csv"
    assert ProgressBar not in callbacks


def test_build_callbacks__names_what_is_no_callback(tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks.mine: expected a mapping with a _target_ or null"):
        build_callbacks({"callbacks": {"mine": {"every_n_steps": 3}}}, "supervised", tmp_path)


def test_build_loggers__names_the_one_whose_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    logger = {"mine": {"_target_": "builtins.__import__", "name": "mlflow"}}
    with pytest.raises(ConfigError, match=r"logger\.mine: .*mlflow"):
        build_loggers({"logger": logger}, tmp_path)
