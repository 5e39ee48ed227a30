"""The recipe of linear evaluation and the probe on features that are extracted once, on the demo's data."""

from __future__ import annotations

import json

import pytest

from eztorch.engine.launch import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*max_epochs=.* is not trainer.max_epochs")
def test_linear_probe__agrees_with_the_recipe_within_noise(tmp_path):
    place = [f"dir.root={tmp_path}", "report=false"]
    place += [f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val", "test")]
    quick = ["trainer.max_epochs=4", "model.optimizer.scheduler.params.warmup_epochs=1"]
    quiet = ["callbacks.knn=null", "callbacks.linear_probe=null"]
    assert main("pretrain", ["-cn", "demo", *place, *quick, *quiet]) == 0
    linear = ["-cn", "demo_linear", *place, f"pretrained.path={tmp_path}/demo/checkpoints/last.ckpt"]
    linear += ["trainer.max_epochs=15", "trainer.check_val_every_n_epoch=15"]
    assert main("linear_classifier_evaluation", [*linear, "dir.exp=recipe", "~datamodule.test"]) == 0
    grid = ["probe.learning_rates=[1.0]", "probe.weight_decays=[0.0]"]  # those of the recipe
    assert main("linear_probe", [*linear, "dir.exp=probe", *grid]) == 0
    recipe, probe = (
        json.loads((tmp_path / name / "metrics.json").read_text())[metric]
        for name, metric in (("recipe", "val/acc_1"), ("probe", "linear/acc_1"))
    )
    assert min(recipe, probe) > 0.25  # chance is 0.125
    # Two standard deviations of the difference of two accuracies of about a half over 256 videos.
    assert abs(recipe - probe) < 2 * (2 * 0.25 / 256) ** 0.5
    print(f"recipe {recipe:.4f}, probe {probe:.4f}")
