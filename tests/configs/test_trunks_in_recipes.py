"""Trunks of every kind in the recipe of another, by the overrides that the pages name, and what wrong ones say."""

import json
import math
import re

import pytest

from eztorch.engine.launch import main

# What makes `supervised_r3d18_kinetics200` a matter of seconds on a CPU, but for its network.
SMALL = """-cn supervised_r3d18_kinetics200
    datamodule.decoder=pyav datamodule.decoder_args.frame_filter.num_samples=4
    datamodule.train.global_batch_size=4 datamodule.val.global_batch_size=4
    datamodule.train.transform.transform.transforms.0.min_size=40
    datamodule.train.transform.transform.transforms.0.max_size=48
    datamodule.train.transform.transform.transforms.1.size=32
    datamodule.val.transform.transform.transforms.0.size=32 datamodule.val.transform.transform.transforms.1.size=32
    datamodule.test.clip_sampler.clips_per_video=1
    datamodule.test.transform.transform.size=32 datamodule.test.transform.dict_transform.size=32
    datamodule.train.loader.num_workers=0 datamodule.val.loader.num_workers=0 datamodule.test.loader.num_workers=0
    model.optimizer.scheduler.params.warmup_epochs=0
    trainer.accelerator=cpu trainer.precision=32 trainer.sync_batchnorm=false trainer.benchmark=false
    trainer.strategy=auto trainer.max_epochs=1 trainer.check_val_every_n_epoch=1 +trainer.limit_train_batches=2
    +trainer.limit_val_batches=1 +trainer.limit_test_batches=1 report=false"""
CLASSES = ["~model.model.head", "model.model.num_classes=200"]
TINY = ["model.model.name=tiny", "+model.model.depth=1", "model.model.input_size=[4,32,32]"]
TRUNKS = {
    "timesformer_base": [*CLASSES, *TINY, "+model.optimizer.layer_decay_lr=0.5"],
    "vivit_base": [*CLASSES, *TINY, "model.model.freeze_spatial=true"],
    "slowfast_r50": [*CLASSES, "+model.model.stem_dim_out=8", "model.model.convolution=tada"],
    "tsm_r50": [*CLASSES, "model.model.network.name=resnet18"],
}


@pytest.mark.parametrize("trunk", TRUNKS)
@pytest.mark.filterwarnings("ignore:.*has no use for", "ignore:.*max_epochs=.* is not trainer.max_epochs")
def test_recipe__takes_another_trunk(trunk, video_tree, tmp_path):
    place = [f"dir.data={video_tree}", f"dir.root={tmp_path}", "dir.exp=run", f"model/trunk@model.model={trunk}"]
    assert main("supervised", [*SMALL.split(), *place, *TRUNKS[trunk]]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert math.isfinite(metrics["train/loss"])
    assert "test/acc_1" in metrics


@pytest.mark.parametrize(
    ("trunk", "overrides", "message"),
    [
        ("timesformer_base", ["+model.model.head.pool=null"], "TimeSformer: unknown key 'head'"),
        ("timesformer_base", ["+model.model.dpeth=2"], "unknown key 'dpeth'. Did you mean 'depth'?"),
        ("timesformer_base", ["model.model.name=tinny"], "name='tinny' is not known.*Did you mean 'tiny'"),
        ("slowfast_r50", ["model.model.alphas=2"], "model.model.alphas does not exist"),
        ("slowfast_r50", ["model.model.model_depth=51"], "model_depth='51' is not known"),
        ("csn_r101", ["model.model.convolution=tada"], "the network has no 1 x 3 x 3 convolutions"),
        (
            "tsm_r50",
            ["model.model.network.brick.name=shifts"],
            "brick.name='shifts' is not known.*mean 'shift'",
        ),
    ],
)
def test_recipe__wrong_keys_of_a_trunk_end_in_a_line(trunk, overrides, message, video_tree, tmp_path, capsys):
    place = [f"dir.data={video_tree}", f"dir.root={tmp_path}", f"model/trunk@model.model={trunk}"]
    assert main("supervised", [*SMALL.split(), *place, *CLASSES, *overrides]) != 0
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert re.search(message, told), told
